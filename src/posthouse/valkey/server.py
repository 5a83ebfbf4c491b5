"""One server and the link to it, kept up: lost, it is made anew after a pause that grows while it fails.

The link is the circuit breaker: while there is none, whoever asks is refused at once, with the cause. A server that
stands still, or turns into a replica, is found out by asking it something every `PROBE_S`.
"""

import asyncio
import random
from collections.abc import Callable

from posthouse.kit.backoff import Backoff
from posthouse.kit.clock import Clock
from posthouse.kit.tasks import Tasks
from posthouse.valkey.address import Place
from posthouse.valkey.connecting import Access, connect
from posthouse.valkey.link import Link, Misconfigured, Unavailable

PROBE_S = 0.5
_BACKOFF = Backoff(first_s=0.05, longest_s=1.0)


class Server:
    """Links to `place` from `start` until `close`. `changed` is called whenever the link has come or gone."""

    def __init__(
        self, place: Place, access: Access, rng: random.Random, changed: Callable[[], None] = lambda: None
    ) -> None:
        self.place = place
        self.access = access
        self.link: Link | None = None
        self.trouble: Unavailable = Unavailable(f"{place} has not been reached yet")
        self._changed = changed
        self._rng = rng
        self._clock: Clock = access.clock
        self._tasks = Tasks(self._clock)

    def __repr__(self) -> str:
        return f"<Server {self.place} {'up' if self.link else f'down: {self.trouble}'}>"

    def start(self) -> None:
        """Begin to reach it, in the background."""
        self._tasks.supervise(f"link to {self.place}", self._run)

    async def close(self) -> None:
        """End the link and all trying."""
        await self._tasks.close()
        self._drop("it is not used any more")

    def up(self) -> Link:
        """The link, or `Unavailable` with the cause at once."""
        link = self.link
        if link is None or link.broken.done():
            raise self._why(link)
        return link

    def _why(self, link: Link | None) -> Unavailable:
        """Each raise gets an error of its own: one that is kept would gather the tracebacks of all who raise it."""
        if link is not None:
            return Unavailable(link.broken.result())
        return type(self.trouble)(*self.trouble.args)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                self.link = await connect(self.place, self.access)
            except Unavailable as trouble:
                self.trouble = type(trouble)(*trouble.args)
                failures += 1
            else:
                failures = 0
                self._changed()
                self.trouble = Unavailable(await self._hold(self.link))
                self.access.counts.losses += 1
                self._drop(str(self.trouble))
            if failures:
                attempt = 32 if isinstance(self.trouble, Misconfigured) else failures
                await self._clock.sleep(_BACKOFF.delay_s(attempt, self._rng.uniform(0.5, 1)))

    async def _hold(self, link: Link) -> str:
        """Until the link is broken, or the server is not what it was: why."""
        while True:
            await asyncio.wait([link.broken], timeout=PROBE_S)
            if link.broken.done():
                return link.broken.result()
            try:
                ping, role = await link.call([("PING",), ("ROLE",)])
            except Unavailable as trouble:
                return str(trouble)
            if self.access.mode == "alone" and role[0] != b"master":
                return f"{self.place} has become a replica"
            if ping != b"PONG":
                return f"{self.place} refuses: {ping}"

    def _drop(self, why: str) -> None:
        link, self.link = self.link, None
        if link is not None:
            link.close(why)
            self._changed()
