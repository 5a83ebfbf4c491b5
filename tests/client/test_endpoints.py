"""What addresses mean."""

import pytest

from posthouse.client.endpoints import Address, Endpoint, api_of, parse_address, parse_addresses
from posthouse.client.errors import InvalidArgument


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


def test_several_addresses_are_taken_each_once() -> None:
    assert parse_addresses("h:1") == (parse_address("h:1"),)
    assert parse_addresses(["h:1", "http://h:1", "https://i"]) == (
        parse_address("h:1"),
        parse_address("https://i"),
    )


def test_no_address_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="1 to"):
        parse_addresses([])


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("ws://h:1/v1/ws", "http://h:1"),
        ("wss://h/chat/v1/ws", "https://h/chat"),
        ("ws://[::1]:1/v1/ws", "http://[::1]:1"),
    ],
)
def test_an_endpoint_has_an_api_beside_it(url: str, api: str) -> None:
    assert api_of(url) == api
