"""A simulated cache server with its bus: one host, which loses everything when it crashes, and each node's way to it.

Messages on the bus get lost and doubled as the seed wills. Routes keep the port's promise that a cache which has lost
something says too much and never too little.
"""

import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from posthouse.bus.base import BusUnavailable
from posthouse.cache.base import CacheUnavailable, Lease, LogKey, NodeRecord
from posthouse.cache.engines.memory import MemoryLeases, MemoryNodes
from posthouse.kit.clock import Clock
from posthouse.testing.simulation.links import Pipe
from posthouse.testing.simulation.network import Host, Network, Unreachable

T = TypeVar("T")

DEADLINE_S = 0.25
"""How long a node waits for the cache."""
RETRY_S = 0.5
ROUTES_TTL_S = 5.0


class Cache:
    """The server."""

    NAME = "cache"

    def __init__(self, network: Network, rng: random.Random, clock: Clock) -> None:
        self.network = network
        self.rng = rng
        self.lost_share = 0.0
        self.doubled_share = 0.0
        self._clock = clock
        self.restart()

    def crash(self) -> None:
        """All it knew is gone, and every subscription with it."""
        self.host.crash()

    def restart(self) -> None:
        """It is back, empty."""
        self.host = self.network.start(self.NAME)
        self.wipe()
        self.subscribers: dict[str, Pipe] = {}

    def wipe(self) -> None:
        """Everything is forgotten; subscriptions stand."""
        self.leases = MemoryLeases(self._clock)
        self.nodes = MemoryNodes(self._clock)
        self.routes: dict[str, tuple[set[LogKey], float]] = {}

    def live_routes(self, gateway: str) -> set[LogKey] | None:
        """What a gateway has registered; None when that is not known (any more)."""
        keys, until = self.routes.get(gateway, (set(), 0.0))
        return keys if until > self._clock.monotonic() else None

    def keep(self, gateway: str, keys: Sequence[LogKey]) -> Sequence[LogKey]:
        """A gateway's routes are exactly these. Returns those that had been lost."""
        before = self.live_routes(gateway) or set()
        self.routes[gateway] = set(keys), self._clock.monotonic() + ROUTES_TTL_S
        return [key for key in keys if key not in before]


class CacheRoutes:
    """One node's way to the routes."""

    def __init__(self, cache: Cache, host: Host) -> None:
        self._cache = cache
        self._host = host
        self._own: dict[str, dict[LogKey, None]] = {}

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        own = self._own.setdefault(gateway, {})
        own.update(dict.fromkeys(keys))

        async def work() -> None:
            known = self._cache.live_routes(gateway)
            if known is not None:
                known.update(keys)

        await _ask(self._cache, self._host, work)

    async def unregister(self, gateway: str, keys: Sequence[LogKey]) -> None:
        for key in keys:
            self._own.get(gateway, {}).pop(key, None)

        async def work() -> None:
            known = self._cache.live_routes(gateway)
            if known is not None:
                known.difference_update(keys)

        await _attempt(self._cache, self._host, work)

    async def keep(self, gateway: str) -> Sequence[LogKey]:
        keys = list(self._own.get(gateway, ()))

        async def work() -> Sequence[LogKey]:
            return self._cache.keep(gateway, keys)

        return await _ask(self._cache, self._host, work)

    async def forget(self, gateway: str) -> None:
        self._own.pop(gateway, None)

        async def work() -> None:
            self._cache.keep(gateway, ())

        await _attempt(self._cache, self._host, work)

    async def gateways(self, keys: Sequence[LogKey], among: Sequence[str]) -> list[frozenset[str] | None]:
        async def work() -> list[frozenset[str] | None]:
            known = {gateway: self._cache.live_routes(gateway) for gateway in among}
            return [
                frozenset(gateway for gateway, own in known.items() if own is None or key in own)
                for key in keys
            ]

        try:
            return await _ask(self._cache, self._host, work)
        except CacheUnavailable:
            return [None] * len(keys)


class CacheLeases:
    """One node's way to the leases."""

    def __init__(self, cache: Cache, host: Host) -> None:
        self._cache = cache
        self._host = host

    async def take(self, name: str, holder: str, ttl_s: float) -> Lease:
        return await _ask(self._cache, self._host, lambda: self._cache.leases.take(name, holder, ttl_s))

    async def release(self, lease: Lease) -> bool:
        return await _ask(self._cache, self._host, lambda: self._cache.leases.release(lease))


class CacheNodes:
    """One node's way to the register of nodes."""

    def __init__(self, cache: Cache, host: Host) -> None:
        self._cache = cache
        self._host = host

    async def announce(self, node: str, incarnation: int, report: bytes, ttl_s: float) -> bool:
        cache = self._cache
        return await _ask(cache, self._host, lambda: cache.nodes.announce(node, incarnation, report, ttl_s))

    async def retract(self, node: str, incarnation: int) -> None:
        await _attempt(self._cache, self._host, lambda: self._cache.nodes.retract(node, incarnation))

    async def all(self) -> list[NodeRecord]:
        async def work() -> list[NodeRecord]:
            return await self._cache.nodes.all()

        return await _ask(self._cache, self._host, work)


class CacheBus:
    """One node's way to the bus."""

    def __init__(self, cache: Cache, host: Host) -> None:
        self._cache = cache
        self._host = host
        self._wanted: dict[str, tuple[Callable[[bytes], None], Callable[[bool], None]]] = {}

    async def publish(self, gateway: str, message: bytes) -> bool:
        cache = self._cache

        def work() -> bool:
            pipe = cache.subscribers.get(gateway)
            if pipe is None or not pipe.target.alive:
                return False
            for _ in range(_copies(cache)):
                pipe.put(message)
            return True

        try:
            return await cache.network.ask_within(DEADLINE_S, self._host, cache.NAME, work)
        except Unreachable as error:
            raise BusUnavailable(str(error)) from None

    async def subscribe(
        self,
        gateway: str,
        deliver: Callable[[bytes], None],
        standing: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._wanted[gateway] = deliver, standing
        try:
            await self._subscribe(gateway)
        except Unreachable as error:
            self._host.tasks.spawn("subscribe", self._subscribe_again(gateway))
            raise BusUnavailable(str(error)) from None

    async def unsubscribe(self, gateway: str) -> None:
        self._wanted.pop(gateway, None)
        pipe = self._cache.subscribers.get(gateway)
        if pipe is not None and pipe.target is self._host:  # a later life of the node has one of its own
            del self._cache.subscribers[gateway]

    async def _subscribe(self, gateway: str) -> None:
        cache, (deliver, _) = self._cache, self._wanted[gateway]

        async def work() -> Host:
            cache.subscribers[gateway] = Pipe(cache.host, self._host, deliver)
            return cache.host

        host = await cache.network.call_within(DEADLINE_S, self._host, cache.NAME, work)
        host.ended.append(lambda: self._host.tasks.spawn("bus broke", self._broke(gateway)))

    async def _broke(self, gateway: str) -> None:
        if gateway in self._wanted:
            self._wanted[gateway][1](False)
            await self._subscribe_again(gateway)

    async def _subscribe_again(self, gateway: str) -> None:
        while gateway in self._wanted:
            await self._host.clock.sleep(RETRY_S)
            try:
                await self._subscribe(gateway)
            except Unreachable:
                continue
            self._wanted[gateway][1](True)
            return


def _copies(cache: Cache) -> int:
    drawn = cache.rng.random()
    if drawn < cache.lost_share:
        return 0
    return 2 if drawn > 1 - cache.doubled_share else 1


async def _ask(cache: Cache, host: Host, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Have the server do it, in time or not at all."""
    try:
        return await cache.network.ask_within(DEADLINE_S, host, cache.NAME, lambda: _at_once(work()))
    except Unreachable as error:
        raise CacheUnavailable(str(error)) from None


async def _attempt(cache: Cache, host: Host, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The same for what must never raise: it ends by itself in time."""
    with suppress(CacheUnavailable):
        await _ask(cache, host, work)


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of what does not wait."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError(f"{work} waits")
