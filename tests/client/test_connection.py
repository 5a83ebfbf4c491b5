"""The connection's table, its waits and its verdicts."""

import itertools
from math import inf

import pytest

from posthouse.client.connection import (
    REAUTHENTICATIONS_MAX,
    TABLE,
    Connection,
    Ending,
    Event,
    IllegalStep,
    Pace,
    State,
)
from posthouse.protocol.codes import Code

PACE = Pace(heartbeat_s=5, reconnect_jitter_s=4.0, first_wait_s=0.5, wait_max_s=30.0, welcome_timeout_s=10.0)

ALLOWED = {
    State.NEW: {Event.START, Event.CLOSE},
    State.CONNECTING: {Event.OPENED, Event.FAILED, Event.FORBIDDEN, Event.CLOSE},
    State.AUTHENTICATING: {Event.WELCOMED, Event.LOST, Event.FORBIDDEN, Event.SILENT, Event.CLOSE},
    State.LIVE: {Event.DUE, Event.LOST, Event.FORBIDDEN, Event.SILENT, Event.LEAVE, Event.CLOSE},
    State.WAITING: {Event.DUE, Event.CLOSE},
    State.CLOSED: {Event.CLOSE},
}


def at(state: State) -> Connection:
    """A connection in the given state, at time 0."""
    ways = {
        State.NEW: (),
        State.CONNECTING: (Event.START,),
        State.AUTHENTICATING: (Event.START, Event.OPENED),
        State.LIVE: (Event.START, Event.OPENED, Event.WELCOMED),
        State.WAITING: (Event.START, Event.FAILED),
        State.CLOSED: (Event.CLOSE,),
    }
    connection = Connection(PACE)
    for event in ways[state]:
        connection.step(event, 0.0)
    assert connection.state is state
    return connection


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_each_pair_of_state_and_event_is_a_step_of_the_table_or_an_error(state: State, event: Event) -> None:
    connection = at(state)
    if event in ALLOWED[state]:
        action = connection.step(event, 1.0)
        assert (action, connection.state) == TABLE[state, event]
    else:
        with pytest.raises(IllegalStep):
            connection.step(event, 1.0)
        assert connection.state is state


def test_closing_ends_every_state_for_good() -> None:
    for state in State:
        connection = at(state)
        connection.step(Event.CLOSE, 1.0)
        assert connection.state is State.CLOSED
        assert connection.due == inf


def test_a_server_that_does_not_answer_a_beat_in_time_is_taken_for_dead() -> None:
    connection = at(State.LIVE)
    begun = connection.due
    assert connection.event_due(begun) is Event.DUE
    connection.step(Event.DUE, begun)
    assert connection.due == begun + PACE.answer_s
    connection.heard = True
    assert connection.event_due(connection.due) is None
    assert connection.due == begun + PACE.beat_s, "the next beat comes when it would have come anyway"
    assert connection.event_due(connection.due) is Event.DUE
    connection.step(Event.DUE, connection.due)
    assert connection.event_due(connection.due) is Event.SILENT
    assert connection.due - begun <= PACE.heartbeat_s + 3, "noticed within one interval and three seconds"


def test_beats_come_sooner_than_was_promised() -> None:
    assert Pace(heartbeat_s=30).beat_s < 30


@pytest.mark.parametrize(("heartbeat_s", "answer_s"), [(1, 0.8), (2, 1.6), (5, 2.5), (30, 5), (300, 50)])
def test_the_longer_the_beats_the_more_patient_the_client(heartbeat_s: int, answer_s: float) -> None:
    """P-6.3: half an interval, 5 seconds in the background."""
    assert Pace(heartbeat_s=heartbeat_s).answer_s == answer_s


def test_the_first_beats_of_those_who_connected_together_are_spread() -> None:
    """P-6.4."""
    first = []
    for uniform in (0.0, 0.5, 1.0):
        connection = at(State.AUTHENTICATING)
        connection.step(Event.WELCOMED, 0.0, uniform=uniform)
        first.append(connection.due)
    assert first == [PACE.beat_s * share for share in (0.5, 0.75, 1.0)]


def test_a_way_that_opens_ends_a_wait_of_our_own_but_not_one_that_the_server_named() -> None:
    for ending, due in ((Ending(), 1.0), (Ending(retry_in_ms=9_000), 9.0)):
        connection = at(State.LIVE)
        wait_s = connection.wait_s(ending, 0.0, other_endpoint=False, uniform=0.9)
        connection.step(Event.LOST, 0.0, wait_s)
        connection.hurry(1.0)
        assert connection.due == due


def test_a_server_that_never_says_welcome_is_given_up() -> None:
    connection = at(State.AUTHENTICATING)
    assert connection.event_due(9.9) is None
    assert connection.event_due(10.0) is Event.SILENT


def test_the_first_attempts_after_a_loss_are_spread_evenly_and_later_ones_back_off() -> None:
    """P-13.5."""
    connection = at(State.LIVE)
    waits = []
    for _ in range(6):
        waits.append(connection.wait_s(Ending(), 100.0, other_endpoint=False, uniform=0.5))
        connection.state = State.CONNECTING
    assert waits == [2.0, 2.0, 2.0, 4.0, 8.0, 15.0]


def test_before_the_first_session_attempts_follow_quickly() -> None:
    connection = at(State.CONNECTING)
    assert connection.wait_s(Ending(), 0.0, other_endpoint=False, uniform=0.5) == 0.25


def test_another_endpoint_is_tried_at_once() -> None:
    """P-13.5."""
    assert at(State.LIVE).wait_s(Ending(), 0.0, other_endpoint=True, uniform=0.5) == 0.0


def test_the_time_that_the_server_names_is_kept_exactly() -> None:
    """P-13.5."""
    ending = Ending(Code.DRAINING, "", retry_in_ms=1234)
    assert at(State.LIVE).wait_s(ending, 0.0, other_endpoint=True, uniform=0.9) == 1.234


def test_a_refused_token_is_replaced_at_once_the_first_time_only() -> None:
    connection = at(State.AUTHENTICATING)
    connection.step(Event.LOST, 0.0)
    ending = Ending(Code.TOKEN_EXPIRED)
    assert connection.wait_s(ending, 0.0, other_endpoint=False, uniform=0.5) == 0.0
    assert connection.wait_s(ending, 0.0, other_endpoint=False, uniform=0.5) > 0.0


def test_a_session_that_lasted_ends_the_counting_of_attempts() -> None:
    connection = at(State.LIVE)
    connection.attempts = 5
    assert connection.wait_s(Ending(), PACE.settled_s - 1, other_endpoint=False, uniform=0.5) > 2.0
    connection = at(State.LIVE)
    connection.attempts = 5
    assert connection.wait_s(Ending(), PACE.settled_s, other_endpoint=False, uniform=0.5) == 2.0


@pytest.mark.parametrize(
    ("code", "fixed", "verdict"),
    [
        (Code.DRAINING, True, Event.LOST),
        (Code.EPOCH_CHANGED, True, Event.LOST),
        (Code.TOKEN_EXPIRED, False, Event.LOST),
        (Code.TOKEN_EXPIRED, True, Event.FORBIDDEN),
        (Code.HELLO_TIMEOUT, True, Event.LOST),
        (Code.REPLACED, False, Event.FORBIDDEN),
        (4399, False, Event.FORBIDDEN),
        (4099, False, Event.LOST),
        (1006, True, Event.LOST),
    ],
)
def test_the_range_of_the_code_decides_whether_to_come_back(code: int, fixed: bool, verdict: Event) -> None:
    """P-13.2."""
    assert at(State.LIVE).judge(Ending(code), fixed) is verdict


def test_fresh_tokens_that_are_refused_one_after_the_other_end_the_client() -> None:
    connection = at(State.AUTHENTICATING)
    verdicts = [connection.judge(Ending(Code.TOKEN_INVALID), False) for _ in range(REAUTHENTICATIONS_MAX + 1)]
    assert verdicts == [Event.LOST] * REAUTHENTICATIONS_MAX + [Event.FORBIDDEN]
