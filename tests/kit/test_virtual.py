"""Virtual time: hours pass at once, in the same order every time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from posthouse.kit import virtual
from posthouse.kit.virtual import Spinning, Stuck, VirtualClock, VirtualLoop


def _run(main: Coroutine[Any, Any, None]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


def test_an_hour_passes_at_once() -> None:
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def sleep() -> tuple[float, int]:
        began = clock.now_ms()
        await clock.sleep(3600)
        return clock.monotonic(), clock.now_ms() - began

    assert loop.run_until_complete(sleep()) == (3600.0, 3_600_000)
    loop.close()


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    woken = []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    async def all_of_them() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (3.0, 1.0, 2.0, 1.5)))

    _run(all_of_them())
    assert woken == [1.0, 1.5, 2.0, 3.0]


def test_a_time_out_is_virtual_too() -> None:
    async def wait() -> None:
        async with asyncio.timeout(86_400):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        _run(wait())


def test_waiting_for_what_will_never_come_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        _run(wait())


def test_somebody_who_never_comes_to_an_end_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "ROUNDS_MAX", 100)

    async def spin() -> None:
        while True:  # noqa: ASYNC110 - that is the fault
            await asyncio.sleep(0)

    with pytest.raises(Spinning, match="it is still 0"):
        _run(spin())


def test_timers_of_one_moment_ring_in_the_order_in_which_they_were_set() -> None:
    rung: list[int] = []

    async def ring() -> None:
        loop = asyncio.get_running_loop()
        cancelled = loop.call_at(0.01, rung.append, -1)
        for number in range(20):
            loop.call_at(0.01, rung.append, number)
        cancelled.cancel()
        await asyncio.sleep(0.01)

    _run(ring())
    assert rung == list(range(20))
