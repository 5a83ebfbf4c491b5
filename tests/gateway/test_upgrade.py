"""The opening handshake: which requests open a WebSocket, and what the others are told."""

import contextlib
import json

import pytest
from hypothesis import given, strategies as st

from posthouse.gateway.upgrade import (
    Agreement,
    Refusal,
    Refused,
    negotiate,
    parse,
    refusing,
    switching,
    target_path,
)
from tests.gateway.peers import DEFLATE, UPGRADE, head

SUBPROTOCOL = "posthouse.v1.json"


def agree(
    headers: dict[str, str], origins: tuple[str, ...] = ("*",), request: str = "GET /v1/ws HTTP/1.1"
) -> Agreement:
    return negotiate(parse(head(headers, request).removesuffix(b"\r\n\r\n")), SUBPROTOCOL, origins)


def test_the_example_of_the_rfc_gets_its_answer() -> None:
    """P-2.2. RFC 6455, 1.3."""
    assert agree(UPGRADE) == Agreement("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", SUBPROTOCOL, "")
    assert switching(agree(UPGRADE)) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: posthouse.v1.json\r\n\r\n"
    )


def test_compression_is_agreed_to_when_asked_for() -> None:
    assert agree(UPGRADE | DEFLATE).extension.startswith("permessage-deflate")
    assert b"\r\nSec-WebSocket-Extensions: permessage-deflate; " in switching(agree(UPGRADE | DEFLATE))


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"},  # as Firefox sends it
        {"Sec-WebSocket-Protocol": "posthouse.v2.json, posthouse.v1.json"},
        {"Content-Length": "0"},
        {"Origin": "https://anywhere.example"},
        {"X-Empty": "", "x-tab": "a\tb "},
    ],
)
def test_variants_that_browsers_send_are_accepted(headers: dict[str, str]) -> None:
    """P-16.1: a subprotocol's name is a version; of those that are offered, the known one is taken."""
    assert agree(UPGRADE | headers).subprotocol == SUBPROTOCOL


@pytest.mark.parametrize(
    ("headers", "status", "counter"),
    [
        ({"Upgrade": "h2c"}, 426, "upgrades_bad"),
        ({"Connection": "close"}, 426, "upgrades_bad"),
        ({"Sec-WebSocket-Version": "8"}, 426, "upgrades_bad"),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400, "upgrades_bad"),
        ({"Sec-WebSocket-Key": "not base64 at all!!!"}, 400, "upgrades_bad"),
        ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="}, 400, "upgrades_bad"),
        ({"Content-Length": "5"}, 400, "upgrades_bad"),
        ({"Transfer-Encoding": "chunked"}, 400, "upgrades_bad"),
        ({"Bad Name": "x"}, 400, "upgrades_bad"),
        ({"X-Control": "a\x00b"}, 400, "upgrades_bad"),
        ({"X-Folded": "a\r\n b"}, 400, "upgrades_bad"),
        ({"Sec-WebSocket-Protocol": "chat"}, 400, "subprotocols_refused"),
        ({"Sec-WebSocket-Protocol": ""}, 400, "subprotocols_refused"),
    ],
)
def test_a_request_that_cannot_be_upgraded_is_refused(
    headers: dict[str, str], status: int, counter: str
) -> None:
    """P-2.2, P-16.1: also who offers no subprotocol that is known."""
    with pytest.raises(Refused) as caught:
        agree(UPGRADE | headers)
    assert (caught.value.refusal.status, caught.value.counter) == (status, counter)


@pytest.mark.parametrize(
    "missing", ["Upgrade", "Connection", "Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]
)
def test_no_header_of_the_handshake_may_be_missing(missing: str) -> None:
    with pytest.raises(Refused):
        agree({name: value for name, value in UPGRADE.items() if name != missing})


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("POST /v1/ws HTTP/1.1", 405), ("GET /v1/ws HTTP/1.0", 400), ("GET  /v1/ws HTTP/1.1", 400), ("", 400)],
)
def test_a_request_line_of_another_form_is_refused(request_line: str, status: int) -> None:
    with pytest.raises(Refused) as caught:
        agree(UPGRADE, request=request_line)
    assert caught.value.refusal.status == status


def test_only_allowed_origins_may_connect_but_who_is_no_browser_may() -> None:
    """P-2.9."""
    allowed = ("https://chat.example",)
    agree(UPGRADE, allowed)
    agree(UPGRADE | {"Origin": "https://chat.example"}, allowed)
    with pytest.raises(Refused) as caught:
        agree(UPGRADE | {"Origin": "https://evil.example"}, allowed)
    assert (caught.value.refusal.status, caught.value.counter) == (403, "origins_refused")


def test_the_parsed_request_has_path_query_and_headers() -> None:
    request = parse(b"GET /v1/ws?a=1&b=2 HTTP/1.1\r\nX-One:  1 \r\nx-one: 2")
    assert (request.path, request.query, request.headers) == ("/v1/ws", "a=1&b=2", {"x-one": "1, 2"})


def test_the_path_is_found_in_any_bytes() -> None:
    assert target_path(b"GET /v1/ws?x=/y HTTP/1.1\r\nHost: h\r\n\r\n") == b"/v1/ws"
    assert target_path(b"GET\r\n\r\n") == b""
    assert target_path(b"\x16\x03\x01 \xff\x00") == b"\xff\x00"


def test_a_refusal_is_a_whole_http_response_that_says_when_to_come_back() -> None:
    """P-2.10."""
    response = refusing(Refusal(503, "too much to do", 1500, headers=(("X-Extra", "1"),)))
    start, body = response.split(b"\r\n\r\n")
    assert start.split(b"\r\n")[0] == b"HTTP/1.1 503 Service Unavailable"
    headers = dict(line.split(b": ") for line in start.split(b"\r\n")[1:])
    assert headers[b"Retry-After"] == b"2"
    assert headers[b"X-Extra"] == b"1"
    assert headers[b"Connection"] == b"close"
    assert int(headers[b"Content-Length"]) == len(body)
    assert json.loads(body) == {"reason": "too much to do", "retry_after_ms": 1500}


any_headers = st.dictionaries(st.sampled_from(sorted(UPGRADE | DEFLATE)), st.text()).map(
    lambda own: UPGRADE | own
)


@given(st.one_of(st.binary(), any_headers.map(head)))
def test_no_bytes_whatever_raise_anything_but_a_refusal(received: bytes) -> None:
    target_path(received)
    with contextlib.suppress(Refused):
        negotiate(parse(received), SUBPROTOCOL, ("https://chat.example",))
