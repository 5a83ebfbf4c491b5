"""The virtual clock: time moves only when told to, and wakes each sleeper at its own moment."""

import asyncio

from posthouse.kit.clock import ManualClock, SystemClock
from posthouse.kit.tasks import start


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *seconds: float) -> None:
        for each in seconds:
            await clock.sleep(each)
            woken.append((name, clock.monotonic()))

    sleepers = [start(sleeper("slow", 3.0)), start(sleeper("quick", 1.0, 1.5))]
    await clock.advance(0)
    await clock.advance(2.4)
    assert woken == [("quick", 1.0)]
    await clock.advance(10)
    assert woken == [("quick", 1.0), ("quick", 2.5), ("slow", 3.0)]
    await asyncio.gather(*sleepers)


async def test_both_clocks_move_together() -> None:
    clock = ManualClock(now_ms=1_000)
    await clock.advance(2.5)
    assert (clock.monotonic(), clock.now_ms()) == (2.5, 3_500)


async def test_no_time_at_all_yields_once() -> None:
    clock = ManualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.monotonic() == 0.0


async def test_a_sleeper_that_gave_up_wakes_nobody() -> None:
    clock = ManualClock()
    sleeper = start(clock.sleep(1))
    await clock.advance(0)
    sleeper.cancel()
    await clock.advance(2)
    assert sleeper.cancelled()


async def test_the_machine_s_clock_does_not_go_back() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.now_ms() > 1_700_000_000_000
