"""A lane holds back what follows a send that was refused for now (G3)."""

from collections import deque

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


@given(st.lists(st.sampled_from(["send", "commit", "commit", "fail", "drop"]), max_size=80))
def test_however_sends_fail_and_are_repeated_they_are_committed_in_the_order_made(events: list[str]) -> None:
    """A client that repeats in order what was refused for now, against a queue that fails at random."""
    lane, made, committed = Lane(), 0, list[int]()
    unsettled: deque[int] = deque()
    queue: deque[tuple[int, int]] = deque()
    refused: set[int] = set()

    def offer(send: int) -> None:
        number = lane.enter("c", str(send))
        if number:
            queue.append((send, number))
            refused.discard(send)
        else:
            refused.add(send)

    for event in [*events, *["commit"] * 200]:
        if event == "send":
            made += 1
            unsettled.append(made)
            offer(made)
        elif queue:
            send, number = queue.popleft()
            if event == "commit" and lane.admits("c", number):
                committed.append(send)
                unsettled.remove(send)
                lane.settled("c", number)
            elif event == "drop" and lane.admits("c", number):
                unsettled.remove(send)
                lane.refused("c", str(send), number, Code.INVALID_CONTENT)
            else:
                lane.refused("c", str(send), number, Code.UNAVAILABLE)
                refused.add(send)
        if refused and not queue:
            for send in list(unsettled):
                offer(send)
    assert committed == sorted(committed)
    assert not unsettled, "every send is settled in the end"
