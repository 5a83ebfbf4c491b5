"""A loop runs on one node at a time, goes over to another when its node is gone, and may run twice without harm."""

from collections.abc import AsyncIterator

import pytest

from posthouse.cluster.lease import HOLD_S, TTL_S, Claim
from posthouse.cluster.singleton import Singleton
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from tests.cluster.silent_cache import Silence, SilentLeases


class Bench:
    """Two nodes that would run the same loop; `running` tells who does."""

    def __init__(self, clock: ManualClock, *, without_cache: bool = False) -> None:
        self.clock = clock
        self.leases = SilentLeases(clock)
        self.leases.silence = Silence()
        self.tasks = {name: Tasks(clock) for name in "ab"}
        self.running: list[str] = []
        self.crash = False
        self.able = {"a": True, "b": True}
        self.singletons = {name: self._singleton(name, without_cache) for name in "ab"}

    def _singleton(self, name: str, without_cache: bool) -> Singleton:
        async def loop() -> None:
            self.running.append(name)
            try:
                while not self.crash:
                    await self.clock.sleep(0.5)
                self.crash = False
                raise RuntimeError("crashed")
            finally:
                self.running.remove(name)

        claim = Claim(self.leases, "repair", lambda: name, self.clock)
        return Singleton(claim, loop, self.clock, able=lambda: self.able[name], without_cache=without_cache)

    async def begin(self) -> None:
        for name in "ab":
            self.tasks[name].supervise(name, self.singletons[name].run)
            await self.clock.advance(0.1)

    async def close(self) -> None:
        for tasks in self.tasks.values():
            await tasks.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench(ManualClock())
    yield bench
    await bench.close()


async def test_it_runs_on_one_node_and_stays_there(bench: Bench) -> None:
    await bench.begin()
    for _ in range(20):
        await bench.clock.advance(0.7)
        assert bench.running == ["a"]


async def test_when_its_node_is_gone_another_runs_it(bench: Bench) -> None:
    await bench.begin()
    bench.leases.silence = Silence()
    await bench.tasks["a"].close()
    await bench.clock.advance(1.1)
    assert bench.running == ["b"]


async def test_a_silent_cache_stops_it_in_time(bench: Bench) -> None:
    """Nobody else may have begun before this one has stopped."""
    await bench.begin()
    await bench.clock.advance(2)
    bench.leases.silence.down = True
    await bench.clock.advance(HOLD_S + 0.1)
    assert bench.running == []
    bench.leases.silence.down = False
    await bench.clock.advance(TTL_S)
    assert len(bench.running) == 1


async def test_what_may_run_everywhere_does_so_while_nobody_can_say() -> None:
    bench = Bench(ManualClock(), without_cache=True)
    await bench.begin()
    bench.leases.silence.down = True
    await bench.clock.advance(TTL_S + 1)
    assert sorted(bench.running) == ["a", "b"]
    bench.leases.silence.down = False
    await bench.clock.advance(2 * TTL_S)
    assert len(bench.running) == 1
    await bench.close()


async def test_it_is_told_whether_anybody_can_say_who_has_the_lease(bench: Bench) -> None:
    known: list[bool] = []
    bench.singletons["b"].on_known = known.append
    await bench.begin()
    assert known[-1]
    bench.leases.silence.down = True
    await bench.clock.advance(1.1)
    assert not known[-1]


async def test_who_cannot_do_it_leaves_it_to_another(bench: Bench) -> None:
    await bench.begin()
    bench.able["a"] = False
    await bench.clock.advance(2.1)
    assert bench.running == ["b"]


async def test_a_crash_frees_the_lease_and_is_seen(bench: Bench) -> None:
    await bench.begin()
    bench.crash = True
    await bench.clock.advance(0.6)
    assert bench.tasks["a"].crashes == 1
    await bench.clock.advance(TTL_S)
    assert len(bench.running) == 1


async def test_a_wiped_cache_leaves_at_most_a_moment_of_two(bench: Bench) -> None:
    await bench.begin()
    bench.leases.wipe()
    await bench.clock.advance(3)
    assert len(bench.running) == 1
