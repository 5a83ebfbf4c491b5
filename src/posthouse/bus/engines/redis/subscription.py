"""One gateway's subscription: a link of its own, kept up. Broken, it says so, and is made anew until closed.

The server cuts off whoever does not keep up with reading (its client-output-buffer-limit for pubsub): that is a broken
subscription like any other. One that stands still is found by asking.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from posthouse.kit.backoff import Backoff
from posthouse.kit.tasks import Tasks
from posthouse.valkey.address import Place
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import Link, ReplyError, Unavailable

PROBE_S = 0.5
_BACKOFF = Backoff(first_s=0.05, longest_s=0.5)


class Subscription:
    """Delivers what is published on `channel`, from `start` until `close`."""

    def __init__(
        self,
        deployment: Deployment,
        channel: bytes,
        deliver: Callable[[bytes], None],
        standing: Callable[[bool], None],
    ) -> None:
        self._deployment = deployment
        self._channel = channel
        self._deliver = deliver
        self._standing = standing
        self._tasks = Tasks(deployment.clock)
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._link: Link | None = None

    async def start(self) -> None:
        """Return when it stands. Raises `Unavailable` when the first attempt fails; the next ones are made all the
        same."""
        self._tasks.supervise(f"subscription {self._channel.decode()}", self._run)
        await self._first

    async def close(self) -> None:
        """Deliver nothing from now on."""
        self._drop("it was unsubscribed")
        await self._tasks.close()
        self._drop("it was unsubscribed")

    # Inside -----------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                place, link = await self._stand()
            except Unavailable as trouble:
                failures += 1
                if not self._first.done():
                    self._first.set_exception(trouble)
                self._deployment.doubt()
                await self._deployment.clock.sleep(_BACKOFF.delay_s(failures, 1.0))
                continue
            failures = 0
            if self._first.done():
                self._standing(True)
            else:
                self._first.set_result(None)
            await self._hold(place, link)
            self._drop("it does not stand any more")
            self._standing(False)

    async def _stand(self) -> tuple[Place, Link]:
        place = self._deployment.server(self._channel).place
        self._link = link = await self._deployment.subscriber(self._channel, self._take)
        try:
            await link.ask("SSUBSCRIBE", self._channel)
        except (ReplyError, Unavailable) as error:
            self._drop("it was not subscribed")
            raise Unavailable(f"{place} refuses: {error}") from None
        return place, link

    async def _hold(self, place: Place, link: Link) -> None:
        """Return when the link is broken, the server does not answer, or the channel has moved to another."""
        while not self._has_moved(place):
            await asyncio.wait([link.broken], timeout=PROBE_S)
            try:
                await link.ask("PING")
            except (Unavailable, ReplyError):
                return

    def _has_moved(self, place: Place) -> bool:
        try:
            return self._deployment.server(self._channel).place != place
        except Unavailable:
            return False  # whoever might know is away; the link stands

    def _take(self, push: list[Any]) -> None:
        kind, _, what = push
        if kind == b"smessage":
            self._deliver(what)
        elif kind == b"sunsubscribe":
            self._drop("the server has given the channel away")

    def _drop(self, why: str) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close(why)
