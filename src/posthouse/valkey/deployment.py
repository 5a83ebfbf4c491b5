"""Which server to ask for what: one server, the primary that Sentinels name, or the Cluster's server for a key's slot.

A deployment keeps links to the servers that matter and follows failovers and moved slots by itself. It never waits:
whoever asks gets a link that stands, or `Unavailable` at once.
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from posthouse.kit.clock import Clock
from posthouse.kit.tasks import Tasks, wait_event
from posthouse.valkey.address import Address, Place
from posthouse.valkey.connecting import Access, connect
from posthouse.valkey.link import Link, LinkCounts, LinkLimits, Misconfigured, Unavailable
from posthouse.valkey.server import Server

START_TIMEOUT_S = 3.0


class Deployment(ABC):
    """What `address` names, from `start` until `close`."""

    def __init__(self, address: Address, limits: LinkLimits, clock: Clock, rng: random.Random) -> None:
        self.address = address
        self.clock = clock
        self.counts = LinkCounts()
        self.access = Access(
            address.login, address.database, address.tls, "alone", limits, clock, self.counts
        )
        self._rng = rng
        self._tasks = Tasks(clock)
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} {'up' if self.up else f'down: {self.trouble}'}>"

    # What the engines ask -----------------------------------------------------------------------------------------

    @abstractmethod
    def server(self, key: bytes) -> Server:
        """The server that has `key`. Raises `Unavailable` when that is not known."""

    def link(self, key: bytes) -> Link:
        """The link to the server that has `key`, or `Unavailable` at once."""
        return self.server(key).up()

    def doubt(self) -> None:  # noqa: B027 (a server of its own has nothing to look up)
        """A server refused in a way that speaks of an old map: look anew, soon."""

    async def subscriber(self, key: bytes, on_push: Callable[[list[Any]], None]) -> Link:
        """A link of its own for messages, to the server that has `key`. Raises `Unavailable`."""
        return await connect(self.server(key).place, self.access, on_push)

    @property
    def up(self) -> bool:
        """Whether every key has a server that is linked to."""
        return self.trouble is None

    @property
    @abstractmethod
    def trouble(self) -> Unavailable | None:
        """Why some or all keys cannot be asked for now; None when all can."""

    @abstractmethod
    def servers(self) -> Iterable[Server]:
        """Every server that is linked to now, or should be."""

    def statistics(self) -> Mapping[str, int]:
        """Servers, how many of them answer; links lost so far, how often a server was given up because it did not
        answer in time, and calls refused because too many bytes waited for it."""
        servers = list(self.servers())
        return {
            "servers": len(servers),
            "servers_up": sum(server.link is not None for server in servers),
            "links_lost": self.counts.losses,
            "timeouts": self.counts.timeouts,
            "overflows": self.counts.overflows,
        }

    # Life -------------------------------------------------------------------------------------------------------------

    async def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Begin, and return once it is up. Raises `Misconfigured`, or `Unavailable` after `timeout_s`; it goes on
        trying all the same, until `close`."""
        self._begin()
        until = self.clock.monotonic() + timeout_s
        while (trouble := self.trouble) is not None:
            left_s = until - self.clock.monotonic()
            if isinstance(trouble, Misconfigured) or left_s <= 0:
                raise type(trouble)(*trouble.args)
            self._changed.clear()
            await wait_event(self._changed, min(left_s, 0.05), self.clock)

    async def close(self) -> None:
        """End all links."""
        await self._tasks.close()
        await asyncio.gather(*(server.close() for server in list(self.servers())))

    @abstractmethod
    def _begin(self) -> None:
        """Start what runs in the background."""

    def _server(self, place: Place, access: Access | None = None) -> Server:
        """A server that is linked to from now on."""
        server = Server(place, access or self.access, self._rng, self._notice)
        server.start()
        return server

    def _notice(self) -> None:
        self._changed.set()


class Alone(Deployment):
    """One server."""

    def __init__(self, address: Address, limits: LinkLimits, clock: Clock, rng: random.Random) -> None:
        super().__init__(address, limits, clock, rng)
        self._only = Server(address.places[0], self.access, rng, self._notice)

    def server(self, key: bytes) -> Server:
        return self._only

    @property
    def trouble(self) -> Unavailable | None:
        return None if self._only.link is not None else self._only.trouble

    def servers(self) -> Iterable[Server]:
        return [self._only]

    def _begin(self) -> None:
        self._only.start()
