"""Which endpoints are tried, and in what order; what is remembered of those that failed."""

from collections import Counter
from math import inf

import pytest
from hypothesis import given, strategies as st

from posthouse.client.endpoints import Endpoint, parse_addresses
from posthouse.client.route import (
    ASK_AGAIN_S,
    CANDIDATES_MAX,
    FAILURES_TO_OPEN,
    LOOK_WITHIN_S,
    OPEN,
    TTL_S_MIN,
    Route,
)

A, B, C = Endpoint("ws://a/v1/ws", 25), Endpoint("ws://b/v1/ws", 25), Endpoint("ws://c/v1/ws", 50)
FRONT = Endpoint("ws://front/v1/ws", 0)
OWN = "ws://own/v1/ws"


def a_route(*listed: Endpoint, ttl_s: float = 300.0) -> Route:
    route = Route(parse_addresses("http://own"))
    route.learn(listed, ttl_s, 0.0, 0.5)
    return route


def tried(route: Route, now: float = 0.0, uniform: float = 0.0) -> list[str]:
    return route.candidates(now, lambda: uniform)


def test_before_there_is_a_list_the_addresses_themselves_are_endpoints() -> None:
    route = Route(parse_addresses(["http://own", "https://other"]))
    assert tried(route) == [OWN, "wss://other/v1/ws"]


def test_weights_decide_how_often_an_endpoint_comes_first() -> None:
    """P-2.1."""
    route = a_route(A, B, C, FRONT)
    first = Counter(tried(route, uniform=number / 100)[0] for number in range(100))
    assert first == {A.url: 25, B.url: 25, C.url: 50}


def test_the_others_follow_by_rank_those_without_weight_after_them_and_the_addresses_last() -> None:
    """P-2.1."""
    assert tried(a_route(A, FRONT, B, C), uniform=0.99) == [C.url, A.url, B.url, FRONT.url, OWN]


def test_a_list_of_nothing_but_last_resorts_is_used() -> None:
    assert tried(a_route(FRONT)) == [FRONT.url, OWN]


def test_an_endpoint_that_failed_in_this_outage_comes_last_until_all_have() -> None:
    route = a_route(A, B)
    route.fail(A.url, 0.0, 0.5)
    assert route.has_other(0.0)
    assert tried(route) == [B.url, OWN, A.url]
    route.fail(B.url, 0.0, 0.5)
    route.fail(OWN, 0.0, 0.5)
    assert not route.has_other(0.0)
    assert tried(route) == [A.url, B.url, OWN]


def test_what_a_newer_list_leaves_out_is_tried_last_and_still_asked() -> None:
    """The others were unfit for a moment when the list came, and the one that it names dies next."""
    route = a_route(A, B)
    route.learn([A], 300.0, 1.0, 0.5)
    assert tried(route) == [A.url, OWN, B.url]
    assert route.apis() == ["http://own", "http://a", "http://b"]
    route.learn([B], 300.0, 2.0, 0.5)
    assert tried(route) == [B.url, OWN, A.url]


def test_who_could_not_be_told_of_endpoints_asks_soon_once_a_session_stands() -> None:
    route = Route(parse_addresses("http://own"))
    route.learn([], 0.0, 0.0, 0.5)
    assert route.look_at > LOOK_WITHIN_S
    route.stand(1.0, 0.5)
    assert route.look_at == 1.0 + LOOK_WITHIN_S / 2
    route.learn([A], 300.0, 2.0, 0.5)
    look_at = route.look_at
    route.stand(3.0, 0.5)
    assert route.look_at == look_at


def test_a_session_ends_the_outage() -> None:
    route = a_route(A, B)
    route.fail(A.url, 0.0, 0.5)
    route.stand(0.0, 0.5)
    assert tried(route) == [A.url, B.url, OWN]


def test_a_breaker_opens_after_failures_in_a_row_is_kept_over_sessions_and_lets_a_probe_through() -> None:
    route = a_route(A, B)
    for _ in range(FAILURES_TO_OPEN):
        route.fail(A.url, 100.0, 1.0)
        route.stand(0.0, 0.5)
    assert tried(route, 100.0) == [B.url, OWN, A.url]
    assert tried(route, 100.0 + OPEN.first_s - 0.1) == [B.url, OWN, A.url]
    assert tried(route, 100.0 + OPEN.first_s) == [A.url, B.url, OWN]
    route.fail(A.url, 200.0, 1.0)
    route.stand(0.0, 0.5)
    assert tried(route, 200.0 + OPEN.first_s) == [B.url, OWN, A.url], "a probe that fails opens it for longer"
    assert tried(route, 200.0 + 2 * OPEN.first_s) == [A.url, B.url, OWN]


def test_who_sent_the_client_away_has_not_failed() -> None:
    """It is not gone back to in this outage, and welcome in the next."""
    route = a_route(A, B)
    for _ in range(FAILURES_TO_OPEN + 1):
        route.leave(A.url)
        assert tried(route) == [B.url, OWN, A.url]
        route.stand(0.0, 0.5)
    assert tried(route) == [A.url, B.url, OWN]


def test_a_session_that_lasted_forgives_what_was_before() -> None:
    route = a_route(A, B)
    route.fail(A.url, 0.0, 0.5)
    route.stand(0.0, 0.5)
    route.current = A.url
    route.last()
    route.fail(A.url, 0.0, 0.5)
    route.stand(0.0, 0.5)
    assert tried(route) == [A.url, B.url, OWN]


def test_breakers_keep_nobody_away_when_all_are_open() -> None:
    route = a_route(A, B)
    for _ in range(FAILURES_TO_OPEN):
        for url, now in ((OWN, 2.0), (B.url, 0.0), (A.url, 1.0)):
            route.fail(url, now, 0.5)
    assert not route.has_other(3.0)
    assert tried(route, 3.0) == [B.url, A.url, OWN], "whose breaker closes first comes first"


def test_an_outage_of_all_is_held_against_none() -> None:
    """The next one to go would otherwise keep the client away although the others are back."""
    route = a_route(A, B)
    for now in range(5):
        for url in (A.url, B.url, OWN):
            route.fail(url, float(now), 1.0)
        tried(route, float(now))
    route.stand(5.0, 0.5)
    route.fail(A.url, 5.0, 1.0)
    assert route.has_other(5.0)


def test_those_with_open_breakers_take_part_at_the_end_when_all_else_failed_just_now() -> None:
    """Else the only one to be tried would be the one that has just fallen silent."""
    route = a_route(A, B)
    for _ in range(FAILURES_TO_OPEN):
        for url in (OWN, B.url):
            route.fail(url, 0.0, 1.0)
    route.stand(0.0, 0.5)
    route.fail(A.url, 1.0, 0.5)
    assert not route.has_other(1.0)
    assert tried(route, 1.0) == [A.url, B.url, OWN]


def test_there_is_hope_while_one_endpoint_has_not_refused_for_good() -> None:
    """P-13.6."""
    route = a_route(A, B)
    for url in (A.url, OWN):
        route.fail(url, 0.0, 0.5, final=True)
    assert not route.hopeless()
    route.fail(B.url, 0.0, 0.5)
    assert not route.hopeless()
    route.fail(B.url, 1.0, 0.5, final=True)
    assert route.hopeless()
    route.learn([A, B, C], 300.0, 2.0, 0.5)
    assert not route.hopeless()


def test_where_the_server_sends_a_client_is_where_it_goes_next_and_only_next() -> None:
    route = a_route(A, B)
    route.prefer("ws://new/v1/ws")
    assert tried(route) == ["ws://new/v1/ws", A.url, B.url, OWN]
    assert tried(route) == [A.url, B.url, OWN]


def test_an_empty_list_changes_nothing_and_is_asked_for_again() -> None:
    """P-2.1: the last answer is kept."""
    route = a_route(A)
    route.learn((), 60.0, 50.0, 1.0)
    assert tried(route) == [A.url, OWN]
    assert route.look_at == 50.0 + ASK_AGAIN_S


def test_a_list_is_asked_for_again_before_it_is_stale() -> None:
    route = a_route(A, ttl_s=100.0)
    assert 80.0 <= route.look_at < 100.0
    assert not route.stale(99.0)
    assert route.stale(100.0)


def test_a_list_that_claims_to_be_good_for_no_time_is_not_asked_for_all_the_time() -> None:
    assert a_route(A, ttl_s=0.0).look_at >= TTL_S_MIN * 0.8


def test_whoever_has_not_failed_is_asked_for_the_list_first() -> None:
    route = a_route(A, B)
    route.fail(OWN, 0.0, 0.5)
    assert route.apis() == ["http://a", "http://b", "http://own"]


def test_an_address_that_names_the_one_endpoint_asks_for_no_others() -> None:
    route = Route(parse_addresses("ws://own"))
    assert not route.asks
    assert not route.stale(1e9)
    assert route.look_at == inf


URLS = st.sampled_from([A.url, B.url, C.url, FRONT.url, OWN])
STEPS = st.lists(
    st.tuples(st.sampled_from(["fail", "stand", "last", "wait", "learn", "prefer"]), URLS, st.floats(0, 20)),
    max_size=40,
)


@given(STEPS, st.floats(0, 0.999))
def test_there_is_always_somewhere_to_go_each_endpoint_once_and_what_failed_after_all_others(
    steps: list[tuple[str, str, float]], uniform: float
) -> None:
    route, now, failed = a_route(A, B, C, FRONT), 0.0, set[str]()
    for what, url, seconds in steps:
        if what == "fail":
            route.fail(url, now, uniform)
            failed.add(url)
        elif what == "stand":
            route.stand(0.0, 0.5)
            failed.clear()
        elif what == "last":
            route.current = url
            route.last()
        elif what == "wait":
            now += seconds
        elif what == "learn":
            route.learn([A, B, C, FRONT], 60.0, now, uniform)
        else:
            route.prefer(url)
            other = route.has_other(now)
            candidates = route.candidates(now, lambda: uniform)
            assert candidates[0] == url
            assert len(candidates) == len(set(candidates)) <= CANDIDATES_MAX
            if other:
                places = [each in failed for each in candidates[1:]]
                assert places == sorted(places)
            else:
                failed.clear()
    assert route.candidates(now, lambda: uniform)


def test_who_asked_for_tls_is_led_nowhere_without_it() -> None:
    """P-17.5: neither by the list, nor by where the server says to go."""
    route = Route(parse_addresses("https://own"))
    secure = Endpoint("wss://a/v1/ws", 1)
    route.learn([A, secure, FRONT], 300.0, 0.0, 0.5)
    route.prefer(A.url)
    assert tried(route) == [secure.url, "wss://own/v1/ws"]
    assert route.apis() == ["https://own", "https://a"]


@pytest.mark.parametrize(
    "url", ["", "ws://", "ws:///v1/ws", "ws://[::1", "ws://h:0", "ws://h:99999", "http://h/v1/ws", "h"]
)
def test_nobody_is_led_to_what_is_no_endpoint(url: str) -> None:
    """Whatever stands in front of a node, and answers in its place."""
    route = Route(parse_addresses("http://own"))
    route.learn([Endpoint(url, 1), A], 300.0, 0.0, 0.5)
    route.prefer(url)
    assert tried(route) == [A.url, "ws://own/v1/ws"]
    route.learn([Endpoint(url, 1)], 300.0, 0.0, 0.5)
    assert tried(route) == [A.url, "ws://own/v1/ws"]


def test_who_gave_any_address_without_tls_may_be_led_to_others() -> None:
    route = Route(parse_addresses(["https://own", "http://own"]))
    route.prefer(A.url)
    assert tried(route)[0] == A.url
