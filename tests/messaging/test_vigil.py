"""A stall is noticed by whoever looks first, and doubt lasts a moment."""

import asyncio

from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import start
from posthouse.messaging.vigil import DOUBT_S, LOOK_INTERVAL_S, STALL_S, Vigil

STALLED_S = LOOK_INTERVAL_S + STALL_S + 0.01


class Stopped(ManualClock):
    """A clock that can go on while nobody is woken, as when a process is frozen."""

    def stall(self, seconds: float) -> None:
        self._elapsed += seconds


async def test_nothing_is_doubted_while_it_looks() -> None:
    clock = Stopped()
    vigil = Vigil(clock)
    keeping = start(vigil.keep())
    await clock.advance(100.0)
    assert vigil.trusts(0)
    keeping.cancel()


async def test_before_it_looks_for_the_first_time_no_wait_is_a_stall() -> None:
    clock = Stopped()
    vigil = Vigil(clock)
    clock.stall(60.0)
    vigil.look()
    assert vigil.trusts(0)


async def test_what_lay_there_during_a_stall_is_doubted_for_ever_and_what_comes_a_moment_later_is_not() -> (
    None
):
    clock = Stopped()
    vigil = Vigil(clock)
    keeping = start(vigil.keep())
    await asyncio.sleep(0)
    clock.stall(STALLED_S)
    taken = vigil.watch
    vigil.look()  # before `keep` is woken
    just_after = vigil.watch
    assert not vigil.trusts(taken)
    assert not vigil.trusts(just_after)
    await clock.advance(DOUBT_S + LOOK_INTERVAL_S)
    assert not vigil.trusts(taken)
    assert not vigil.trusts(just_after)
    assert vigil.trusts(vigil.watch)
    keeping.cancel()


async def test_a_second_stall_within_the_moment_of_doubt_begins_it_anew() -> None:
    clock = Stopped()
    vigil = Vigil(clock)
    vigil.look()
    clock.stall(STALLED_S)
    vigil.look()
    first = vigil.watch
    clock.stall(STALLED_S)
    vigil.look()
    assert not vigil.trusts(vigil.watch)
    assert vigil.watch != first
    clock.stall(DOUBT_S)
    vigil.look()
    assert vigil.trusts(vigil.watch)
