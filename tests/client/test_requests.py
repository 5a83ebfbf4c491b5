"""Numbered requests: how many at once, what is asked again, who gets the answer."""

from math import inf

import pytest

from posthouse.client.errors import TooManyRequests
from posthouse.client.requests import REQUESTS_IN_FLIGHT_MAX, REQUESTS_WAITING_MAX, Answer, Requests
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Done, Error, Fetch, Frame


def build(ref: int) -> Frame:
    return Fetch(ref=ref, conv="room")


def refs(frames: list[Frame]) -> list[int]:
    return [frame.ref for frame in frames if isinstance(frame, Fetch)]


def ask(requests: Requests, answers: list[Answer | Error], *, lasts: bool = True) -> None:
    requests.ask(build, answers.append, lasts=lasts)


def opened() -> Requests:
    requests = Requests()
    requests.open()
    return requests


def test_an_answer_goes_to_whoever_asked_and_only_once() -> None:
    """P-3.8: each request that waits has a ref of its own."""
    requests, first, second = opened(), list[Answer | Error](), list[Answer | Error]()
    ask(requests, first)
    ask(requests, second)
    one, two = refs(requests.take(0.0))
    for _ in range(2):
        requests.answer(Done(ref=two))
    assert first == []
    assert second == [Done(ref=two)]
    assert one != two


def test_only_so_many_are_in_flight_and_an_answer_lets_the_next_go() -> None:
    requests, answers = opened(), list[Answer | Error]()
    for _ in range(REQUESTS_IN_FLIGHT_MAX + 1):
        ask(requests, answers)
    sent = refs(requests.take(0.0))
    assert len(sent) == REQUESTS_IN_FLIGHT_MAX
    assert requests.due == inf
    requests.answer(Done(ref=sent[0]))
    assert len(requests.take(0.0)) == 1


def test_a_refusal_for_now_is_asked_again_after_the_wait() -> None:
    """P-9.9."""
    requests, answers = opened(), list[Answer | Error]()
    ask(requests, answers)
    (ref,) = refs(requests.take(0.0))
    requests.refuse(Error(code=Code.UNAVAILABLE, reason="", ref=ref, retry_after_ms=500), 0.0, 0.1)
    assert requests.take(0.4) == []
    assert requests.due == 0.5
    assert len(requests.take(0.5)) == 1
    assert answers == []


def test_a_final_refusal_is_an_answer() -> None:
    requests, answers = opened(), list[Answer | Error]()
    ask(requests, answers)
    (ref,) = refs(requests.take(0.0))
    refusal = Error(code=Code.NOT_MEMBER, reason="", ref=ref)
    requests.refuse(refusal, 0.0, 0.5)
    assert answers == [refusal]


def test_a_lost_connection_repeats_what_lasts_and_forgets_the_rest() -> None:
    requests, lasting, passing = opened(), list[Answer | Error](), list[Answer | Error]()
    ask(requests, lasting)
    ask(requests, passing, lasts=False)
    requests.take(0.0)
    requests.lose_connection()
    assert requests.take(0.0) == []
    requests.open()
    (ref,) = refs(requests.take(0.0))
    requests.answer(Done(ref=ref))
    assert (len(lasting), len(passing)) == (1, 0)


def test_the_application_may_not_pile_up_requests_but_the_client_always_has_a_place() -> None:
    requests, answers = Requests(), list[Answer | Error]()
    for _ in range(REQUESTS_WAITING_MAX):
        ask(requests, answers)
    with pytest.raises(TooManyRequests):
        ask(requests, answers)
    ask(requests, answers, lasts=False)


def test_a_request_given_up_is_not_answered() -> None:
    requests, answers = opened(), list[Answer | Error]()
    request = requests.ask(build, answers.append, lasts=True)
    (ref,) = refs(requests.take(0.0))
    requests.give_up(request)
    requests.answer(Done(ref=ref))
    assert answers == []
