"""Addresses, and which endpoint is tried next."""

import pytest

from posthouse.client.endpoints import Address, Endpoint, Route, parse_address
from posthouse.client.errors import InvalidArgument

A, B, C = Endpoint("ws://a/v1/ws"), Endpoint("ws://b/v1/ws"), Endpoint("ws://c/v1/ws", 2.0)


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("http://h:8080", Address("http://h:8080", Endpoint("ws://h:8080/v1/ws"), asks=True)),
        ("http://h:8080/", Address("http://h:8080", Endpoint("ws://h:8080/v1/ws"), asks=True)),
        ("h:8080", Address("http://h:8080", Endpoint("ws://h:8080/v1/ws"), asks=True)),
        ("https://h/chat", Address("https://h/chat", Endpoint("wss://h/chat/v1/ws"), asks=True)),
        ("ws://h:1/v1/ws", Address("http://h:1", Endpoint("ws://h:1/v1/ws"), asks=False)),
        ("wss://h", Address("https://h", Endpoint("wss://h/v1/ws"), asks=False)),
        ("http://[::1]:8080", Address("http://[::1]:8080", Endpoint("ws://[::1]:8080/v1/ws"), asks=True)),
    ],
)
def test_an_address_names_the_api_and_an_endpoint(address: str, meant: Address) -> None:
    assert parse_address(address) == meant


@pytest.mark.parametrize("address", ["", "ftp://h", "http://", "http://h:notaport"])
def test_what_is_no_address_is_refused_with_the_form_of_one(address: str) -> None:
    with pytest.raises(InvalidArgument, match="http://host:port"):
        parse_address(address)


def test_weights_decide_how_often_an_endpoint_is_chosen() -> None:
    route = Route(A)
    route.learn([A, B, C])
    chosen = [route.choose(number / 100) for number in range(100)]
    assert (chosen.count(A.url), chosen.count(B.url), chosen.count(C.url)) == (25, 25, 50)


def test_an_endpoint_that_failed_is_passed_over_until_all_have() -> None:
    route = Route(A)
    route.learn([A, B])
    assert route.choose(0.0) == A.url
    assert route.fail()
    assert route.choose(0.0) == B.url
    assert not route.fail()
    assert route.choose(0.0) == A.url


def test_success_ends_the_outage() -> None:
    route = Route(A)
    route.learn([A, B])
    route.choose(0.0)
    route.fail()
    route.succeed()
    assert route.choose(0.0) == A.url


def test_the_only_endpoint_has_no_other() -> None:
    route = Route(A)
    assert not route.fail()
    assert route.choose(0.5) == A.url


def test_where_the_server_sends_a_client_is_where_it_goes_next() -> None:
    route = Route(A)
    route.prefer(C.url)
    assert route.choose(0.0) == C.url
    assert route.choose(0.0) == A.url


def test_an_empty_list_changes_nothing() -> None:
    route = Route(A)
    route.learn([])
    route.learn([Endpoint("ws://z", 0.0)])
    assert route.choose(0.0) == A.url
