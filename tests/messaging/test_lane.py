"""A lane holds back what follows a send that was refused for now (G3)."""

from collections import deque

import pytest
from hypothesis import given, strategies as st

from posthouse.messaging.lane import Lane
from posthouse.protocol.codes import Code


def test_a_send_refused_for_now_holds_back_later_ones_until_it_is_repeated() -> None:
    lane = Lane()
    lane.refused("c", "1", lane.enter("c", "1"), Code.RATE_LIMITED)
    assert not lane.enter("c", "2")
    assert lane.enter("d", "2"), "other conversations go on"
    again = lane.enter("c", "1")
    assert lane.admits("c", again), "the refused send itself may be repeated"
    assert lane.admits("c", lane.enter("c", "2")), "and what follows the repetition may queue behind it"


def test_what_waited_behind_a_refused_send_does_not_slip_in_front_of_its_repetition() -> None:
    lane = Lane()
    first, second = lane.enter("c", "1"), lane.enter("c", "2")
    lane.refused("c", "1", first, Code.UNAVAILABLE)
    again = lane.enter("c", "1")
    assert not lane.admits("c", second)
    assert lane.admits("c", again)


def test_what_entered_before_a_refused_send_goes_on() -> None:
    lane = Lane()
    first, second = lane.enter("c", "1"), lane.enter("c", "2")
    lane.refused("c", "2", second, Code.BUSY)
    assert lane.admits("c", first)


def test_a_refusal_for_good_settles_the_send() -> None:
    lane = Lane()
    lane.refused("c", "1", lane.enter("c", "1"), Code.UNAVAILABLE)
    lane.refused("c", "1", lane.enter("c", "1"), Code.NOT_MEMBER)
    assert lane.admits("c", lane.enter("c", "2"))
    assert len(lane) == 0


def test_a_second_refusal_while_the_first_is_being_repeated_holds_back_as_well() -> None:
    """Refused by the rate limit one after the other, while what was let through waits to be committed."""
    lane = Lane()
    lane.refused("c", "1", lane.enter("c", "1"), Code.RATE_LIMITED)
    again, second, third = lane.enter("c", "1"), lane.enter("c", "2"), lane.enter("c", "3")
    lane.refused("c", "3", third, Code.RATE_LIMITED)
    assert not lane.enter("c", "4")
    assert lane.admits("c", again)
    assert lane.admits("c", second)
    lane.settled("c", again)
    assert not lane.enter("c", "4"), "the third has not come again"
    assert lane.enter("c", "3")
    assert lane.enter("c", "4")


def test_what_was_barred_stays_so_when_the_repetition_is_refused_in_its_turn() -> None:
    lane = Lane()
    first, second = lane.enter("c", "1"), lane.enter("c", "2")
    lane.refused("c", "1", first, Code.UNAVAILABLE)
    lane.refused("c", "1", lane.enter("c", "1"), Code.RATE_LIMITED)
    assert not lane.admits("c", second)
    again = lane.enter("c", "1")
    assert not lane.admits("c", second)
    lane.settled("c", again)
    assert lane.admits("c", lane.enter("c", "2"))


@pytest.mark.parametrize("code", [None, Code.NOT_MEMBER])
def test_a_repetition_that_is_settled_leaves_nothing_behind(code: Code | None) -> None:
    """G7: whatever entered before it has had its turn, also when it is refused for good."""
    lane = Lane()
    for conv in map(str, range(100)):
        lane.refused(conv, "1", lane.enter(conv, "1"), Code.UNAVAILABLE)
        again = lane.enter(conv, "1")
        if code is None:
            lane.settled(conv, again)
        else:
            lane.refused(conv, "1", again, code)
    assert len(lane) == 0


def test_a_repetition_that_is_turned_away_for_good_does_not_let_in_what_waited_behind_the_first_try() -> None:
    """Its successors may have been held back already. What bars them counts for as long as it is kept (G7)."""
    lane = Lane()
    first, second = lane.enter("c", "1"), lane.enter("c", "2")
    lane.refused("c", "1", first, Code.UNAVAILABLE)
    lane.turned_away("c", "1", lane.enter("c", "1"), Code.INVALID_CONTENT)
    assert not lane.admits("c", second)
    assert len(lane) == 1
    third = lane.enter("c", "3")
    assert lane.admits("c", third)
    lane.settled("c", third)
    assert len(lane) == 0


EVENTS = st.sampled_from(
    ["send", "send at a full door", "commit", "commit", "fail", "drop", "repeat", "repeat one"]
)


@given(st.lists(EVENTS, max_size=80))
def test_however_sends_fail_and_are_repeated_they_are_committed_in_the_order_made(events: list[str]) -> None:
    """A client that repeats in order what was refused for now; the door may be full, and the queue fails."""
    lane, made, committed = Lane(), 0, list[int]()
    unsettled: deque[int] = deque()
    queue: deque[tuple[int, int]] = deque()
    refused: set[int] = set()

    def offer(send: int, *, full: bool = False) -> None:
        number = lane.enter("c", str(send))
        if number and not full:
            queue.append((send, number))
            refused.discard(send)
            return
        refused.add(send)
        if number:
            lane.refused("c", str(send), number, Code.RATE_LIMITED)

    for event in [*events, *["commit"] * 200]:
        if event.startswith("send"):
            made += 1
            unsettled.append(made)
            offer(made, full=event != "send")
        elif queue and not event.startswith("repeat"):
            send, number = queue.popleft()
            if not lane.admits("c", number):
                refused.add(send)
            elif event == "commit":
                committed.append(send)
                unsettled.remove(send)
                lane.settled("c", number)
            elif event == "drop":
                unsettled.remove(send)
                lane.refused("c", str(send), number, Code.INVALID_CONTENT)
            else:
                lane.refused("c", str(send), number, Code.UNAVAILABLE)
                refused.add(send)
        if refused and not queue:
            for number, send in enumerate(list(unsettled)):
                offer(send, full=event == "repeat" and number > 1)
    assert committed == sorted(committed)
    assert not unsettled, "every send is settled in the end"
