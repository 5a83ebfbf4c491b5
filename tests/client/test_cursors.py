"""Cursors are merged, said once a second, and said again until they are durable."""

from posthouse.client.cursors import INTERVAL_S, Cursors
from posthouse.model.cursor import Cursor
from posthouse.protocol.frames import CURSORS_MAX


def opened() -> Cursors:
    cursors = Cursors()
    cursors.open(0.0)
    return cursors


def test_moves_within_a_second_are_said_together() -> None:
    """P-12.5."""
    cursors = opened()
    assert cursors.deliver("room", 1)
    cursors.schedule(0.0)
    assert not cursors.deliver("room", 5)
    cursors.read("room", 3, 0.6)
    assert cursors.take(0.9) == ()
    assert cursors.due == INTERVAL_S
    assert cursors.take(INTERVAL_S) == (Cursor("room", 3, 5),)


def test_nothing_is_said_while_the_last_has_no_answer() -> None:
    cursors = opened()
    cursors.read("room", 1, 0.0)
    cursors.take(1.0)
    cursors.read("room", 2, 1.0)
    assert not cursors.deliver("room", 3)
    assert cursors.take(9.0) == ()
    cursors.settle(saved=True, now=9.0)
    assert cursors.take(10.0) == (Cursor("room", 2, 3),)


def test_what_was_on_its_way_when_the_connection_broke_is_said_again() -> None:
    cursors = opened()
    cursors.read("room", 4, 0.0)
    cursors.take(1.0)
    cursors.deliver("room", 6)
    cursors.lose_connection()
    assert cursors.take(5.0) == ()
    cursors.open(5.0)
    assert cursors.take(6.0) == (Cursor("room", 4, 6),)


def test_what_is_durable_is_not_said_again() -> None:
    cursors = opened()
    cursors.read("room", 4, 0.0)
    cursors.take(1.0)
    cursors.settle(saved=True, now=1.0)
    cursors.read("room", 3, 2.0)
    cursors.deliver("room", 4)
    assert cursors.take(9.0) == ()


def test_one_frame_holds_so_many_and_the_rest_follows() -> None:
    """P-12.1, P-12.5."""
    cursors = opened()
    for number in range(CURSORS_MAX + 1):
        cursors.read(f"room {number}", 1, 0.0)
    assert len(cursors.take(1.0)) == CURSORS_MAX
    cursors.settle(saved=True, now=1.0)
    assert len(cursors.take(2.0)) == 1


def test_on_leaving_nothing_waits_for_the_second() -> None:
    cursors = opened()
    cursors.read("room", 1, 0.0)
    assert len(cursors.take(0.0, all_due=True)) == 1
