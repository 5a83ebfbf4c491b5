"""Routes follow rooms: registered before anybody relies on them, never taken from a room that has filled again."""

import asyncio
from collections.abc import Sequence

import pytest

from posthouse.cache.base import CacheUnavailable, LogKey
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.gateway.registrar import CHANGES_MAX, SOURCE, Registrar
from posthouse.kit.tasks import start
from posthouse.messaging.hearing import Hearing

KEY: LogKey = ("app", "c")
OTHER: LogKey = ("app", "d")


class SlowRoutes(MemoryRoutes):
    """Routes that answer when told to, and fail when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.faults: list[Exception] = []
        self.keep_faults: list[Exception] = []

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        await self._reach("register", keys)
        await super().register(gateway, keys)

    async def unregister(self, gateway: str, keys: Sequence[LogKey]) -> None:
        await self._reach("unregister", keys)
        await super().unregister(gateway, keys)

    async def keep(self, gateway: str) -> Sequence[LogKey]:
        if self.keep_faults:
            raise self.keep_faults.pop(0)
        return await super().keep(gateway)

    async def _reach(self, call: str, keys: Sequence[LogKey]) -> None:
        self.calls.append((call, len(keys)))
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)


class Bench:
    """A registrar of gateway `n`, its routes, and the rooms that are wanted."""

    def __init__(self) -> None:
        self.routes = SlowRoutes()
        self.wanted: set[LogKey] = {KEY, OTHER}
        self.hearing = Hearing([SOURCE], lambda: 0.0)
        self.hearing.trust(SOURCE)
        self.registrar = Registrar("n", self.routes, lambda key: key in self.wanted, self.hearing)

    async def stands(self, key: LogKey) -> bool:
        return await self.routes.gateways([key], ["n"]) == [frozenset({"n"})]

    def leave(self, key: LogKey) -> None:
        self.wanted.discard(key)
        self.registrar.unregister_later(key)


async def test_registering_returns_once_the_route_stands() -> None:
    bench = Bench()
    bench.routes.gate.clear()
    waiting = start(bench.registrar.register([KEY]))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    bench.routes.gate.set()
    await waiting
    assert await bench.stands(KEY)


async def test_who_follows_a_log_that_another_is_registering_waits_as_well() -> None:
    """Otherwise the second would sync before its route stands, and miss what falls between (G4)."""
    bench = Bench()
    bench.routes.gate.clear()
    first = start(bench.registrar.register([KEY]))
    await asyncio.sleep(0.01)
    second = start(bench.registrar.register([]))
    await asyncio.sleep(0.01)
    assert not second.done()
    bench.routes.gate.set()
    await asyncio.gather(first, second)


async def test_nothing_to_register_needs_no_call() -> None:
    bench = Bench()
    await bench.registrar.register([])
    await bench.registrar.flush()
    assert bench.routes.calls == []


async def test_a_room_that_emptied_is_unregistered_at_the_next_flush() -> None:
    bench = Bench()
    await bench.registrar.register([KEY, OTHER])
    bench.leave(KEY)
    assert await bench.stands(KEY)
    await bench.registrar.flush()
    assert not await bench.stands(KEY)
    assert await bench.stands(OTHER)


async def test_a_room_that_filled_again_before_the_flush_stays_registered() -> None:
    bench = Bench()
    await bench.registrar.register([KEY])
    bench.leave(KEY)
    bench.wanted.add(KEY)
    await bench.registrar.register([KEY])
    await bench.registrar.flush()
    assert await bench.stands(KEY)


async def test_a_room_that_fills_again_during_the_flush_is_registered_after_it() -> None:
    bench = Bench()
    await bench.registrar.register([KEY])
    bench.leave(KEY)
    bench.routes.gate.clear()
    flushing = start(bench.registrar.flush())
    await asyncio.sleep(0.01)
    bench.wanted.add(KEY)
    registering = start(bench.registrar.register([KEY]))
    await asyncio.sleep(0.01)
    bench.routes.gate.set()
    await asyncio.gather(flushing, registering)
    assert await bench.stands(KEY)


async def test_a_room_that_empties_while_it_waits_to_be_registered_leaves_no_route() -> None:
    bench = Bench()
    bench.routes.gate.clear()
    bench.leave(OTHER)
    flushing = start(bench.registrar.flush())
    await asyncio.sleep(0.01)
    registering = start(bench.registrar.register([KEY]))
    await asyncio.sleep(0.01)
    bench.leave(KEY)
    bench.routes.gate.set()
    await asyncio.gather(flushing, registering)
    assert not await bench.stands(KEY)


async def test_a_log_that_could_not_be_registered_is_registered_with_the_next() -> None:
    """It must not be taken for registered: its next session would rely on a route that is not there."""
    bench = Bench()
    bench.routes.faults.append(RuntimeError("the cache is away"))
    with pytest.raises(RuntimeError):
        await bench.registrar.register([KEY])
    await bench.registrar.register([])
    assert await bench.stands(KEY)


async def test_a_log_that_could_not_be_unregistered_is_tried_again() -> None:
    bench = Bench()
    await bench.registrar.register([KEY])
    bench.leave(KEY)
    bench.routes.faults.append(RuntimeError("the cache is away"))
    with pytest.raises(RuntimeError):
        await bench.registrar.flush()
    await bench.registrar.flush()
    assert not await bench.stands(KEY)


async def test_a_silent_cache_keeps_nobody_out_and_leaves_a_doubt() -> None:
    """The gateway then asks the feed itself; the engine makes the routes good in a later `keep`."""
    bench = Bench()
    bench.routes.faults.append(CacheUnavailable("silent"))
    await bench.registrar.register([KEY])
    assert bench.hearing.why == "routes: silent"
    assert await bench.registrar.keep() == ()
    assert "routes" not in bench.hearing.why


async def test_a_cache_that_does_not_keep_the_routes_leaves_a_doubt() -> None:
    bench = Bench()
    bench.routes.keep_faults.append(CacheUnavailable("silent"))
    assert await bench.registrar.keep() == ()
    assert bench.hearing.why == "routes: silent"


async def test_very_many_changes_go_in_calls_of_bounded_size() -> None:
    bench = Bench()
    keys = [("app", str(number)) for number in range(CHANGES_MAX + 1)]
    bench.wanted.update(keys)
    await bench.registrar.register(keys)
    for key in keys:
        bench.leave(key)
    await bench.registrar.flush()
    assert bench.routes.calls == [
        ("register", CHANGES_MAX), ("register", 1), ("unregister", CHANGES_MAX), ("unregister", 1)
    ]  # fmt: skip
