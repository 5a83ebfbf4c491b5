"""Background work: it ends with its owner, and a crash is seen, counted and survived."""

import asyncio
import gc
import logging

import pytest

from posthouse.kit.backoff import Backoff
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks, start, wait_event


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_started_work_gives_its_result_or_its_error() -> None:
    async def work() -> int:
        return 7

    async def fail() -> None:
        raise KeyError("x")

    assert await start(work()) == 7
    with pytest.raises(KeyError):
        await start(fail())


async def test_spawned_work_that_crashes_is_counted_and_logged(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise KeyError("x")

    tasks = Tasks(clock)
    with caplog.at_level(logging.ERROR):
        tasks.spawn("failing", fail())
        await clock.advance(0)
    assert tasks.crashes == 1
    assert "background task crashed" in caplog.text
    await tasks.close()


async def test_a_loop_that_crashes_or_ends_is_started_again_later_and_later(clock: ManualClock) -> None:
    starts: list[float] = []

    async def loop() -> None:
        starts.append(clock.monotonic())
        if len(starts) % 2:
            raise KeyError("x")

    tasks = Tasks(clock, Backoff(first_s=1.0, factor=2.0, longest_s=4.0))
    tasks.supervise("loop", loop)
    await clock.advance(0)
    await clock.advance(20)
    assert starts == [0, 1, 3, 7, 11, 15, 19]
    assert tasks.crashes == 4
    await tasks.close()


async def test_a_loop_that_ran_for_long_is_started_again_soon(clock: ManualClock) -> None:
    starts: list[float] = []

    async def loop() -> None:
        starts.append(clock.monotonic())
        await clock.sleep(100 if len(starts) == 3 else 0)
        raise KeyError("x")

    tasks = Tasks(clock, Backoff(first_s=1.0, factor=2.0, longest_s=4.0))
    tasks.supervise("loop", loop)
    await clock.advance(0)
    await clock.advance(110)
    assert starts[:5] == [0, 1, 3, 104, 106]
    await tasks.close()


async def test_closing_cancels_everything_and_waits_until_it_has_ended(clock: ManualClock) -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await clock.sleep(1_000)
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    tasks = Tasks(clock)
    tasks.spawn("once", work("once"))
    tasks.supervise("loop", lambda: work("loop"))
    await clock.advance(0)
    await tasks.close()
    assert sorted(ended) == ["loop", "once"]
    assert tasks.crashes == 0
    await tasks.close()


async def test_waiting_for_an_event_ends_with_it_or_with_the_time(clock: ManualClock) -> None:
    event = asyncio.Event()
    waiting = start(wait_event(event, 5, clock))
    await clock.advance(0)
    await clock.advance(4)
    assert not waiting.done()
    await clock.advance(1)
    assert waiting.done()
    event.set()
    await wait_event(event, 5, clock)
    assert clock.monotonic() == 5


async def test_waiting_for_an_event_leaves_nothing_behind(clock: ManualClock) -> None:
    event = asyncio.Event()
    event.set()
    before = asyncio.all_tasks()
    await wait_event(event, 5, clock)
    waiting = start(wait_event(asyncio.Event(), 5, clock))
    await clock.advance(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await clock.advance(0)
    assert asyncio.all_tasks() == before


async def test_what_is_closed_before_its_first_step_is_not_left_unawaited() -> None:
    """Python would warn of it, and warnings are errors here."""
    begun = []

    async def work() -> None:
        begun.append(True)

    tasks = Tasks(ManualClock())
    tasks.spawn("work", work())
    await tasks.close()
    gc.collect()
    assert begun == []
