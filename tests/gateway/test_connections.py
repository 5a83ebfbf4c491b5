"""Deadlines: who is late is told so once, and nobody else is."""

import pytest

from posthouse.gateway.connections import Connections, Deadlines, SocketLimits
from posthouse.kit.clock import ManualClock


class Timed:
    """A connection that only counts how often it expired."""

    def __init__(self) -> None:
        self.expired = 0

    def shut(self, code: int, reason: str) -> None: ...

    def expire(self) -> None:
        self.expired += 1


def test_who_is_late_is_taken_once_and_in_order() -> None:
    deadlines = Deadlines(timeout_ms=1000)
    first, second, third = Timed(), Timed(), Timed()
    deadlines.add(first, now=0.0)
    deadlines.add(second, now=0.5)
    deadlines.add(third, now=0.6)
    assert deadlines.take_expired(0.9) == []
    assert deadlines.take_expired(1.5) == [first, second]
    assert deadlines.take_expired(1.5) == []


def test_a_deadline_is_not_moved_by_setting_it_again() -> None:
    deadlines = Deadlines(timeout_ms=1000)
    timed = Timed()
    deadlines.add(timed, now=0.0)
    deadlines.add(timed, now=0.9)
    assert deadlines.take_expired(1.0) == [timed]


def test_who_arrived_in_time_is_not_late() -> None:
    deadlines = Deadlines(timeout_ms=1000)
    timed = Timed()
    deadlines.add(timed, now=0.0)
    deadlines.discard(timed)
    assert deadlines.take_expired(9.0) == []


@pytest.mark.parametrize("state", ["ending", "removed"])
async def test_a_connection_that_got_further_is_not_held_to_its_first_deadline(state: str) -> None:
    clock = ManualClock()
    connections = Connections(SocketLimits(head_timeout_ms=1000, close_timeout_ms=3000), clock)
    timed = Timed()
    connections.add(timed)
    connections.expect_head(timed)
    if state == "ending":
        connections.expect_end(timed)
    else:
        connections.remove(timed)
    await clock.advance(1.5)
    connections.sweep()
    assert timed.expired == 0
    await clock.advance(2.0)
    connections.sweep()
    assert timed.expired == (1 if state == "ending" else 0)


def test_counting_what_has_no_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        Connections(SocketLimits(), ManualClock()).count("misspelt")
