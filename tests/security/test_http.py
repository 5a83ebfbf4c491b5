"""HTTP as nobody should write it: one request is never two, nobody is two callers, and no spelling opens a door."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.app.config.values import Canary, Limits, Listen
from posthouse.protocol import SUBPROTOCOL
from tests.gateway.peers import UPGRADE, head
from tests.security.raw import answer, answered_head, raw
from tests.security.serving import ACME, API_KEYS, UMBRELLA, config, running, token
from tests.security.site import Town

KEY = f"X-Api-Key: {API_KEYS[ACME]}"
INNER = b"GET /v1/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
"""What must be taken for a body, or for nothing."""


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    settings = config(
        tmp_path / "data",
        canary=Canary(interval_s=0),
        listen=Listen(port=0, allowed_origins=("https://app.example",)),
        limits=Limits(hello_timeout_ms=500),
    )
    async with running(settings) as node, Town.around(node) as town:
        yield town


def request(*lines: str, start: str = "POST /v1/users HTTP/1.1", body: bytes = b"") -> bytes:
    return "\r\n".join((start, "Host: h", *lines, "Connection: close", "", "")).encode() + body


def statuses(heard: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", heard)]


SIZE = f"Content-Length: {len(INNER)}"
CHUNKED = b"0\r\n\r\n" + INNER
AMBIGUOUS = {
    "both lengths": request(SIZE, "Transfer-Encoding: chunked", body=CHUNKED),
    "both lengths, the other way round": request("Transfer-Encoding: chunked", SIZE, body=CHUNKED),
    "two lengths": request("Content-Length: 0", SIZE, body=INNER),
    "two lengths in one line": request(f"Content-Length: 0, {len(INNER)}", body=INNER),
    "chunked behind a space": request("Transfer-Encoding : chunked", SIZE, body=CHUNKED),
    "a length behind a space": request(f"Content-Length : {len(INNER)}", body=INNER),
    "chunked on a folded line": request("Transfer-Encoding:", " chunked", SIZE, body=CHUNKED),
    "chunked twice": request("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=CHUNKED),
    "chunked, then another": request("Transfer-Encoding: chunked, identity", body=CHUNKED),
    "nearly chunked": request("Transfer-Encoding: xchunked", SIZE, body=CHUNKED),
    "chunked with a tail": request("Transfer-Encoding: chunked\x0b", SIZE, body=CHUNKED),
    "a signed length": request(f"Content-Length: +{len(INNER)}", body=INNER),
    "a negative length": request("Content-Length: -1", body=INNER),
    "a length in hex": request("Content-Length: 0x2a", body=INNER),
    "a length beyond all": request("Content-Length: 99999999999999999999999", body=INNER),
    "a chunk of no size": request("Transfer-Encoding: chunked", body=b"zz\r\n" + INNER),
    "a chunk longer than it says": request("Transfer-Encoding: chunked", body=b"1\r\n" + INNER),
    "a bare carriage return": request("X: a\rTransfer-Encoding: chunked", SIZE, body=CHUNKED),
    "a zero in a header": request("X: a\0b", SIZE, body=INNER),
    "a header without name": request(": x", SIZE, body=INNER),
}  # fmt: skip


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_that_two_readers_could_end_in_two_places_is_refused(town: Town, name: str) -> None:
    """Or else what one takes for the next request another takes for this one's body. The connection ends, and the
    answer repeats nothing of what came."""
    heard = await answer(town.node.port, AMBIGUOUS[name])
    assert b"smuggled" not in heard
    assert statuses(heard) == [400], heard
    assert (b"aiohttp" not in heard, b"nosniff" in heard) == (True, True)
    assert not re.search(rb"(?i)transfer|b'", heard)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_body_is_a_body_also_where_none_is_wanted(town: Town, method: str) -> None:
    """It is read to its end, and what follows is the next request."""
    first = f"{method} /v1/nothing HTTP/1.1\r\nHost: h\r\n{SIZE}\r\n\r\n".encode() + INNER
    heard = await answer(town.node.port, first + request(start="GET /healthz HTTP/1.1"))
    assert statuses(heard) == [404, 200]
    assert heard.count(b"no such route") == 1


PIPELINED = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_requests_that_pile_up_wait_with_whoever_sends_them(town: Town) -> None:
    """A connection on which thousands come at once and no answer is read holds up nobody, and fills no memory here."""
    async with raw(town.node.port) as peer:
        size = len(PIPELINED) * 400_000
        peer.send(PIPELINED * 400_000)
        for _ in range(20):
            assert (await town.ask("GET", "/healthz")).status == 200
        assert peer.writer.transport.get_write_buffer_size() > size / 2
        assert town.node._runner is not None
        assert town.node._runner.server is not None
        waiting = [len(each._messages) for each in town.node._runner.server.connections]
        assert 0 < max(waiting) < 1_000


DOUBLED = {
    "two hosts": ("Host: other", KEY),
    "two API keys": (KEY, f"X-Api-Key: {API_KEYS[UMBRELLA]}"),
    "two tokens": (f"Authorization: Bearer {token('ann')}", f"Authorization: Bearer {token('eve')}"),
    "an API key and a token": (KEY, f"Authorization: Bearer {token('ann')}"),
    "two names for one request": (KEY, "Idempotency-Key: a", "Idempotency-Key: b"),
    "two operators": ("X-Operator-Key: pho_a", "X-Operator-Key: pho_b"),
}


@pytest.mark.parametrize("name", DOUBLED)
async def test_who_says_twice_who_they_are_is_nobody(town: Town, name: str) -> None:
    """A proxy may have looked at the one and we at the other."""
    heard = await answer(
        town.node.port, request(*DOUBLED[name], start="GET /v1/conversations?user=ann HTTP/1.1")
    )
    assert statuses(heard) in ([400], [401]), heard


SPELLINGS = (
    "/v1/conversations/../cluster/nodes",
    "/v1/./cluster/nodes",
    "//v1/cluster/nodes",
    "/v1//cluster/nodes",
    "/v1/cluster/nodes/",
    "/v1/%63luster/nodes",
    "/v1%2fcluster%2fnodes",
    "/v1/cluster;x/nodes",
    "/V1/Cluster/Nodes",
    "/v1/cluster/nodes%00",
    "http://h/v1/cluster/nodes",
    "/v1/conversations/%2e%2e/cluster/nodes",
)


@pytest.mark.parametrize("path", SPELLINGS)
async def test_no_spelling_of_a_path_goes_round_its_key(town: Town, path: str) -> None:
    for header in ("X: y", KEY, "X-Original-URL: /healthz", "X-HTTP-Method-Override: OPTIONS"):
        heard = await answer(town.node.port, request(header, start=f"GET {path} HTTP/1.1"))
        assert set(statuses(heard)) <= {400, 401, 404}, heard
        assert b'"nodes"' not in heard


@pytest.mark.parametrize(
    "start",
    [
        "TRACE / HTTP/1.1",
        "CONNECT example.com:443 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "get /healthz HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET /healthz HTTP/3.0",
        "GET /healthz",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=range(8),
)
async def test_other_protocols_and_methods_get_nothing(town: Town, start: str) -> None:
    """No tunnel, no echo of the request, no other version."""
    heard = await answer(town.node.port, request("Cookie: echoed", start=start))
    assert b"echoed" not in heard
    assert all(400 <= status < 500 for status in statuses(heard)), heard


# What is said becomes no header -----------------------------------------------------------------------------------

INJECTED = "X-Injected: owned"
BREAKS = {
    "a line's end": "\r\n",
    "half of one": "\n",
    "the other half": "\r",
    "two, and a body": "\r\n\r\n<html>\r\n",
    "escaped": "%0d%0a",
    "escaped twice": "%250d%250a",
    "in JSON": "\\r\\n",
    "cut down to it": "\u560d\u560a",
    "cut down to it, escaped": "%E5%98%8D%E5%98%8A",
    "what Unicode breaks lines with": "\u2028",
    "a folded line": "\r\n ",
}
PLACES = (
    "Host", "Origin", "Idempotency-Key", "X-Api-Key", "Authorization", "Access-Control-Request-Method",
    "Access-Control-Request-Headers", "X-Request-Id", "X-Forwarded-Host", "Accept-Encoding", "Content-Type",
)  # fmt: skip
OPENING = (
    "Host",
    "Origin",
    "Upgrade",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
)


def carriers(said: str) -> list[bytes]:
    """Requests that say something in each place that a careless answer might repeat."""
    body = f'{{"kind":"group","conv":"{said}","members":["{said}"]}}'.encode()
    sized = f"Content-Length: {len(body)}"
    return [
        *(
            request(KEY, start=f"GET {target} HTTP/1.1")
            for target in (
                f"/{said}",
                f"/v1/users/{said}",
                f"/v1/conversations/{said}/entries?after={said}",
                f"/v1/users?ids={said}",
            )
        ),
        *(
            request(f"{place}: usual{said}", start=f"{method} /v1/conversations HTTP/1.1")
            for place in PLACES
            for method in ("GET", "POST", "OPTIONS")
        ),
        request(KEY, f"Idempotency-Key: {said}", sized, start="POST /v1/conversations HTTP/1.1", body=body),
    ]


def openings(said: str) -> list[bytes]:
    """The same in what opens a WebSocket."""
    return [head(UPGRADE | {place: UPGRADE.get(place, "usual") + said}) for place in OPENING]


def injected(heard: bytes) -> list[bytes]:
    """Lines of an answer that begin with what was said."""
    return re.findall(rb"(?im)(?:^|[\r\n])[ \t]*(?:X-Injected|<html>).*", heard)


@pytest.mark.parametrize("name", BREAKS)
async def test_nothing_that_is_said_becomes_a_header_of_an_answer(town: Town, name: str) -> None:
    """In paths, queries, ids and headers; it may be cut at a break, and what stands behind is then the caller's own."""
    assert injected(f"HTTP/1.1 200 OK\r\nVia: x\r\n{INJECTED}\r\n\r\n".encode())
    said, port = f"{BREAKS[name]}{INJECTED}", town.node.port
    asked = [*carriers(said), *openings(said)]
    answering = (
        *(answer(port, each) for each in carriers(said)),
        *(answered_head(port, each) for each in openings(said)),
    )
    for each, heard in zip(asked, await asyncio.gather(*answering), strict=True):
        assert heard.startswith(b"HTTP/"), each
        assert not injected(heard), (each, heard)


# The way to a WebSocket -------------------------------------------------------------------------------------------

UPGRADES: dict[str, tuple[dict[str, str], int]] = {
    "with a body": ({"Content-Length": "5"}, 400),
    "in chunks": ({"Transfer-Encoding": "chunked"}, 400),
    "to HTTP/2": ({"Upgrade": "h2c"}, 426),
    "to another version": ({"Sec-WebSocket-Version": "8"}, 426),
    "with a short key": ({"Sec-WebSocket-Key": "AAAA"}, 400),
    "without our subprotocol": ({"Sec-WebSocket-Protocol": f"{SUBPROTOCOL}.evil"}, 400),
    "from another page": ({"Origin": "https://evil.example"}, 403),
    "from a page of nowhere": ({"Origin": "null"}, 403),
    "from a page nearly ours": ({"Origin": "https://app.example.evil.example"}, 403),
    "from our page": ({"Origin": "https://app.example"}, 101),
    "from no page": ({}, 101),
}


@pytest.mark.parametrize("name", UPGRADES)
async def test_a_websocket_opens_one_way_only_and_for_the_pages_that_are_configured(
    town: Town, name: str
) -> None:
    headers, status = UPGRADES[name]
    assert statuses(await answered_head(town.node.port, head(UPGRADE | headers))) == [status]


@pytest.mark.parametrize("name", ["Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade", "Origin"])
async def test_an_upgrade_that_says_something_twice_is_refused(town: Town, name: str) -> None:
    """Except for the lists that may be split over lines."""
    usual = UPGRADE | {"Origin": "https://app.example"}
    doubled = head(usual).replace(b"\r\n\r\n", f"\r\n{name}: {usual[name]}\r\n\r\n".encode())
    status = statuses(await answered_head(town.node.port, doubled))
    assert status == [101] if name == "Upgrade" else status[0] in (400, 403, 426)


async def test_a_page_of_another_origin_reads_no_answer_and_none_may_send_cookies(town: Town) -> None:
    """Who is calling is said by tokens in headers, which no page has that the application did not give them to."""
    for origin, may_read in (("https://app.example", True), ("https://evil.example", False), ("null", False)):
        reply = await town.ask("GET", "/v1/endpoints", {"Origin": origin})
        assert (reply.headers.get("Access-Control-Allow-Origin") == origin) is may_read
        assert "Access-Control-Allow-Credentials" not in reply.headers
        assert "Set-Cookie" not in reply.headers
        assert reply.headers["Vary"] == "Origin"
