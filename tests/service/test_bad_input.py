"""Bad input: each kind gets the code that the specification names, is counted, and two people chat on undisturbed."""

import asyncio
import json
import zlib
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from posthouse.app import node as node_module
from posthouse.app.config.values import Api, Config, Limits
from posthouse.app.settings import socket_limits
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey
from posthouse.auth.tokens import TokenIssuer
from posthouse.gateway.connections import SocketLimits
from posthouse.kit.clock import SystemClock
from posthouse.kit.tasks import start
from posthouse.protocol.codes import Code
from tests.gateway.peers import DEFLATE, HOST, UPGRADE, Peer, client_frame, head
from tests.service.bystanders import chatting
from tests.service.site import APP, UNHURRIED, Line, Site, part, serving

TEXT, BINARY, PING, FINAL, DEFLATED = 0x1, 0x2, 0x9, 0x80, 0x40
NOW_S = SystemClock().now_ms() // 1000
FILLED = 80


@asynccontextmanager
async def rough(site: Site, headers: dict[str, str] | None = None) -> AsyncIterator[Peer]:
    """A WebSocket without a library: what is sent is up to the test."""
    async with raw(site) as peer:
        peer.send(head(UPGRADE | (headers or {})))
        assert "101" in await peer.read_response()
        yield peer


@asynccontextmanager
async def raw(site: Site) -> AsyncIterator[Peer]:
    """A TCP connection."""
    reader, writer = await asyncio.open_connection(HOST, site.node.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


def hello(site: Site, user: str, heartbeat_s: int = 300) -> bytes:
    frame = {"t": "hello", "token": site.token(user), "device": "phone", "heartbeat_s": heartbeat_s}
    return client_frame(FINAL | TEXT, json.dumps(frame).encode())


async def event(site: Site, name: str) -> float:
    """How often something happened to a connection, as /metrics shows it."""
    return await site.metric("posthouse_listener_total", event=name)


async def refused(line: Line, code: Code) -> None:
    """P-13.4: a goaway, then a close with the same code."""
    assert await line.end() == code
    assert [frame["code"] for frame in line.all("goaway")] == [code]


def has_answers(line: Line, number: int) -> bool:
    return sum(frame["t"] in ("ack", "entries", "error") for frame in line.heard) == number


async def close_code(peer: Peer) -> int:
    """The code of the close that comes, whatever comes before it."""
    while True:
        start_byte, payload = await peer.read_frame()
        if start_byte == 0x88:
            return int.from_bytes(payload[:2], "big")


# Bytes that are no WebSocket, or too much of one ------------------------------------------------------------------


def deflated(message: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return (squeeze.compress(message) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


BOMB = client_frame(FINAL | DEFLATED | TEXT, deflated(b'{"t":"ping","x":"' + b" " * 20_000_000 + b'"}'))
ENDLESS_HEADER = bytes((FINAL | TEXT, 0xFF)) + (2**62).to_bytes(8, "big") + b"mask"

BYTES: dict[str, tuple[bytes, int, str]] = {
    "an unmasked frame": (bytes((FINAL | TEXT, 2)) + b"{}", 1002, "protocol_violations"),
    "a reserved bit": (client_frame(FINAL | TEXT | 0x20, b"{}"), 1002, "protocol_violations"),
    "compressed without having agreed": (
        client_frame(FINAL | DEFLATED | TEXT, b"x"),
        1002,
        "protocol_violations",
    ),
    "a message of four exabytes": (ENDLESS_HEADER, 1009, "messages_too_large"),
    "a message a byte too long": (client_frame(FINAL | TEXT, b" " * 65_537), 1009, "messages_too_large"),
    "fragments without end": (
        client_frame(TEXT, b"") + client_frame(0, b"x") * 1_100,
        1009,
        "messages_too_large",
    ),
    "no UTF-8": (client_frame(FINAL | TEXT, b'"\xff"'), 1007, "invalid_data"),
    "binary": (client_frame(FINAL | BINARY, b"{}"), 1003, "binary_messages"),
    "pings without end": (client_frame(FINAL | PING, b"") * 100, 1008, "control_floods"),
}


@pytest.mark.parametrize("name", BYTES)
async def test_what_breaks_the_websocket_closes_it_with_its_own_code(embedded: Site, name: str) -> None:
    """P-2.4, P-2.6, P-2.7."""
    sent, code, counter = BYTES[name]
    async with chatting(embedded), rough(embedded) as peer:
        before = await event(embedded, counter)
        peer.send(sent)
        assert await close_code(peer) == code
        assert await event(embedded, counter) == before + 1


@pytest.mark.parametrize(
    ("sent", "code", "counter"),
    [
        (BOMB, 1009, "messages_too_large"),
        (client_frame(FINAL | DEFLATED | TEXT, b"\xff" * 9), 1007, "invalid_data"),
    ],
)
async def test_a_deflate_bomb_goes_off_in_nobody_s_face(
    embedded: Site, sent: bytes, code: int, counter: str
) -> None:
    """P-2.5: limits count what a message inflates to; it is never inflated further."""
    async with chatting(embedded), rough(embedded, DEFLATE) as peer:
        before = await event(embedded, counter)
        peer.send(sent)
        assert await peer.read_close() == code
        assert await event(embedded, counter) == before + 1


# Frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", Code.BAD_FRAME),
        ('{"t":"ping","x":' + "[" * 30_000 + "]" * 30_000 + "}", Code.BAD_FRAME),
        ('{"t":"hello","token":"x","device":"\\ud800"}', Code.BAD_FRAME),
        ('{"t":"hello","token":"x","device":"a\\u0000b"}', Code.BAD_FRAME),
        ('{"t":"list","ref":1}', Code.FRAME_OUT_OF_ORDER),
        ('{"t":"send","conv":"c","client_id":"k","made_at":1,"body":{}}', Code.FRAME_OUT_OF_ORDER),
        ('{"t":"hello","token":"","device":"phone"}', Code.TOKEN_INVALID),
    ],
)
async def test_strangers_who_say_the_wrong_thing_are_told_so_and_counted(
    embedded: Site, message: str, code: Code
) -> None:
    async with chatting(embedded):
        stranger = await embedded.call()
        before = await embedded.coded(code)
        await stranger.socket.send(message)
        await refused(stranger, code)
        assert await embedded.coded(code) == before + 1


def forged() -> str:
    """A token that is good but for the key."""
    other = SigningKey(
        kid="k1", algorithm=Algorithm.HS256, secret="not the secret of acme, though long enough"
    )
    return TokenIssuer({APP: AppKeys(signing=(other,))}).issue(APP, "ann", now_s=NOW_S, ttl_s=3_600)


def unsigned(site: Site) -> str:
    """`alg: none` with the claims of a good token."""
    _, claims, _ = site.token("ann").split(".")
    none = '{"alg":"none","kid":"k1"}'
    return f"{_base64(none)}.{claims}."


def _base64(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "kind", ["forged", "unsigned", "cut", "of another device", "too long", "expired", "lasting"]
)
async def test_tokens_that_prove_nothing_open_nothing(embedded: Site, kind: str) -> None:
    """P-4.3, over WebSocket and over HTTP."""
    good = embedded.token("ann")
    token, code = {
        "forged": (forged(), Code.TOKEN_INVALID),
        "unsigned": (unsigned(embedded), Code.TOKEN_INVALID),
        "cut": (good[:-3], Code.TOKEN_INVALID),
        "of another device": (embedded.token("ann", device="tablet"), Code.TOKEN_INVALID),
        "too long": ("x" * 5_000, Code.TOKEN_INVALID),
        "expired": (embedded.token("ann", ttl_s=-1), Code.TOKEN_EXPIRED),
        "lasting": (embedded.token("ann", ttl_s=10**9), Code.TOKEN_INVALID),
    }[kind]
    async with chatting(embedded):
        line = await embedded.call()
        before = await embedded.coded(code)
        await line.hello(token)
        await refused(line, code)
        assert await embedded.coded(code) == before + 1
        if kind != "of another device":
            assert embedded._http is not None
            headers = {"Authorization": f"Bearer {token}"}
            async with embedded._http.get(f"{embedded.url}/v1/conversations", headers=headers) as response:
                assert (response.status, (await response.json())["code"]) == (401, code)


@pytest.mark.parametrize(
    "body",
    [
        '{"a":' * 17 + "1" + "}" * 17,
        '{"text":"\\u0000"}',
        '{"\\u0000":1}',
        '{"text":"' + "x" * 33_000 + '"}',
        '{"n":1e999}',
        "[]",
        '"text"',
    ],
)
async def test_content_bombs_are_refused_and_never_stored(embedded: Site, body: str) -> None:
    """P-7.9, over WebSocket and over HTTP."""
    conv = await embedded.group("eve")
    async with chatting(embedded):
        eve = await embedded.enter("eve")
        before = await embedded.coded(Code.INVALID_CONTENT)
        await eve.socket.send(f'{{"t":"send","conv":"{conv}","client_id":"k","made_at":1,"body":{body}}}')
        await eve.until(lambda: eve.answers("k"))
        assert eve.answers("k")[0]["code"] == Code.INVALID_CONTENT
        assert await embedded.coded(Code.INVALID_CONTENT) == before + 1
        assert embedded._http is not None
        async with embedded._http.post(
            f"{embedded.url}/v1/conversations/{part(conv)}/entries",
            data=f'{{"body":{body}}}'.encode(),
            headers={"Authorization": f"Bearer {embedded.token('eve')}", "Content-Type": "application/json"},
        ) as response:
            assert response.status in (400, 422)
        assert (await eve.ask(t="fetch", conv=conv))["head"] == 1


@pytest.mark.parametrize("body", ['{"text":"\\ud800"}', '{"text":"' + "\\udfff" * 10 + '"}'])
async def test_lone_surrogates_end_the_session(embedded: Site, body: str) -> None:
    """P-1.5."""
    async with chatting(embedded):
        eve = await embedded.enter("eve")
        before = await embedded.coded(Code.BAD_FRAME)
        await eve.socket.send(f'{{"t":"send","conv":"c","client_id":"k","made_at":1,"body":{body}}}')
        await refused(eve, Code.BAD_FRAME)
        assert await embedded.coded(Code.BAD_FRAME) == before + 1


# Who reads or writes too slowly -----------------------------------------------------------------------------------


async def test_a_client_that_never_reads_is_disconnected_and_holds_up_nobody(tmp_path: Path) -> None:
    """G7, P-2.8: what waits for it is bounded; the others get everything."""
    limits = replaced(outbox_bytes_max=65_536)
    async with serving(tmp_path, limits=limits) as site:
        conv = await site.group("ann", "eve", "dan")
        ann, dan = await site.enter("ann"), await site.enter("dan")
        async with chatting(site), rough(site) as deaf:
            deaf.send(hello(site, "eve"))
            deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await _until_live(site, "eve")
            before = await event(site, "overflows")
            (session,) = [each for each in site.node.gateway.connections if each.user == "eve"]
            number, most = 0, 0
            while not session.gone:
                await ann.send(conv, f"m{number}", body={"text": "x" * 30_000})
                most = max(most, session.socket.buffered_bytes)
                number += 1
                assert number < 500, "nobody noticed"
            assert most <= 65_536 + 40_000
            assert await event(site, "overflows") == before + 1
            assert await site.coded(Code.SLOW_READER) == 1
            assert await dan.caught_up(conv, number + 1) == list(range(2, number + 2))


async def test_a_client_that_never_reads_its_answers_gets_no_more_of_them(tmp_path: Path) -> None:
    """P-11.4: asked again and again, the server keeps within what it may keep."""
    async with serving(tmp_path, limits=replaced(outbox_bytes_max=262_144)) as site:
        conv = await site.group("ann", "eve")
        ann = await site.enter("ann")
        for number in range(20):
            await ann.send(conv, f"m{number}", body={"text": "x" * 30_000})
        async with chatting(site), rough(site) as deaf:
            deaf.send(hello(site, "eve"))
            deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]
            await _until_live(site, "eve")
            (session,) = [each for each in site.node.gateway.connections if each.user == "eve"]
            for ref in range(1, 101):
                fetch = {"t": "fetch", "ref": ref, "conv": conv, "after": 0}
                deaf.send(client_frame(FINAL | TEXT, json.dumps(fetch).encode()))
            while await site.coded(Code.BUSY) < 1 or session.in_flight:
                assert session.socket.buffered_bytes <= 262_144 + 40_000
                await asyncio.sleep(0.01)
            assert not session.gone, "it was a client's own asking; it is told to read first"


@pytest.mark.parametrize("phase", ["new", "live"])
async def test_a_client_that_sends_a_byte_now_and_then_is_ended(tmp_path: Path, phase: str) -> None:
    """P-5.2, P-6.2: bytes that never become a frame are no sign of life."""
    code = Code.HELLO_TIMEOUT if phase == "new" else Code.HEARTBEAT_MISSED
    limits = replaced(hello_timeout_ms=500)
    async with serving(tmp_path, limits=limits) as site, chatting(site), rough(site) as slow:
        if phase == "live":
            slow.send(hello(site, "eve", heartbeat_s=1))
        trickling = start(trickle(slow, client_frame(FINAL | TEXT, b'{"t":"ping"' + b" " * 100 + b"}")))
        assert await close_code(slow) == code
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        assert await site.coded(code) == 1


async def test_a_request_that_comes_a_byte_now_and_then_is_answered_408(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hurried(config: Config) -> SocketLimits:
        return replace(socket_limits(config), head_timeout_ms=500)

    monkeypatch.setattr(node_module, "socket_limits", hurried)
    async with serving(tmp_path) as site, chatting(site), raw(site) as slow:
        trickling = start(trickle(slow, head(UPGRADE)))
        assert "408" in await slow.read_response()
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        assert await event(site, "head_timeouts") == 1


async def trickle(peer: Peer, data: bytes) -> None:
    for byte in data:
        peer.send(bytes((byte,)))
        await asyncio.sleep(0.1)


# Floods -----------------------------------------------------------------------------------------------------------


async def test_a_flood_of_frames_ends_the_connection(tmp_path: Path) -> None:
    limits = replaced(frames_per_connection_burst=500.0)
    async with serving(tmp_path, limits=limits) as site, chatting(site):
        eve = await site.enter("eve")
        for _ in range(2_000):
            await eve.say(t="ping")
        await refused(eve, Code.CONNECTION_RATE)
        assert eve.all("goaway")[0]["reconnect_in_ms"] > 0
        assert await site.coded(Code.CONNECTION_RATE) == 1


async def test_a_flood_of_sends_is_refused_and_its_sender_goes_on(tmp_path: Path) -> None:
    limits = Limits(sends_per_user_per_s=50.0, sends_per_user_burst=50.0)
    async with serving(tmp_path, limits=limits) as site:
        conv = await site.group("eve")
        async with chatting(site):
            eve = await site.enter("eve")
            for number in range(300):
                await eve.post(conv, f"k{number}")
            await eve.until(partial(has_answers, eve, 300))
            codes = {frame["code"] for frame in eve.all("error")}
            assert codes == {Code.RATE_LIMITED, Code.HELD_BACK}
            assert await site.coded(Code.RATE_LIMITED) >= 1
            await eve.quiet()


async def test_a_flood_of_logins_is_sent_away_with_a_time_and_harms_nobody_inside(tmp_path: Path) -> None:
    limits = replaced(logins_per_s=5.0, logins_burst=20.0)
    async with serving(tmp_path, limits=limits) as site, chatting(site):
        lines = await asyncio.gather(*(site.call() for _ in range(60)))
        answers = await asyncio.gather(*(line.hello(site.token(f"u{n}")) for n, line in enumerate(lines)))
        away = [answer for answer in answers if answer["t"] == "goaway"]
        assert 20 <= len(away) < 60
        assert {answer["code"] for answer in away} == {Code.OVERLOADED}
        assert all(answer["reconnect_in_ms"] > 0 for answer in away)
        assert await site.coded(Code.OVERLOADED) == len(away)


async def test_a_flood_of_connections_is_answered_503_and_harms_nobody_inside(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=replaced(connections_max=30)) as site, chatting(site):
        peers, refusals = [], 0
        for _ in range(60):
            reader, writer = await asyncio.open_connection(HOST, site.node.port)
            peers.append(writer)
            writer.write(head(UPGRADE))
            response = (await reader.readuntil(b"\r\n\r\n")).decode()
            refusals += "503" in response
            assert "503" not in response or "Retry-After" in response
        assert refusals >= 30
        for writer in peers:
            writer.transport.abort()
        await _until_connections(site, 5)
        assert await event(site, "connections_refused") == refusals


async def test_a_flood_of_requests_leaves_the_readers_to_others(tmp_path: Path) -> None:
    """Ten sessions ask for all that they may; logins, lists and chats go on beside them."""
    async with serving(tmp_path, limits=replaced(frames_per_connection_burst=1e6)) as site:
        conv = await site.group("eve", "ann")
        await flooded(site, conv, [await site.enter("eve", f"d{number}") for number in range(10)])


async def test_a_flood_for_large_histories_leaves_the_readers_to_others(tmp_path: Path) -> None:
    """As above, and every answer is a page of as many bytes as there may be. Who does not read them gets no more."""
    async with serving(tmp_path, limits=replaced(frames_per_connection_burst=1e6)) as site:
        conv = await site.group("eve", "ann")
        writer = await site.enter("ann", "writer")
        for number in range(FILLED):
            await writer.send(conv, f"fill {number}", body={"text": "x" * 4_000})
        eves = [await site.enter("eve", f"d{number}") for number in range(3)]
        await flooded(site, conv, eves)
        pages = [frame for eve in eves for frame in eve.all("entries")]
        assert pages
        assert all(0 < len(page["entries"]) < FILLED and not page["complete"] for page in pages)


async def flooded(site: Site, conv: str, eves: list[Line]) -> None:
    """All of them fetch as often as they can, and more; everything is answered, and harms nobody."""
    async with chatting(site):
        for eve in eves:
            for ref in range(1, 401):
                await eve.say(t="fetch", ref=ref, conv=conv)
        newcomer = await site.enter("dan")
        assert (await newcomer.ask(t="list"))["t"] == "conversations"
        for eve in eves:
            await eve.until(partial(has_answers, eve, 400))
            assert {frame["code"] for frame in eve.all("error")} <= {Code.IN_FLIGHT_LIMIT, Code.BUSY}


async def test_a_flood_over_http_is_answered_429_and_harms_nobody_else(tmp_path: Path) -> None:
    api = Api(requests_per_user_per_s=1.0, requests_per_user_burst=10.0)
    async with serving(tmp_path, api=api) as site, chatting(site):
        asking = (site.rest("GET", "/v1/conversations/nowhere", user="eve") for _ in range(50))
        replies = await asyncio.gather(*asking)
        away = [reply for reply in replies if reply.status == 429]
        assert len(away) >= 35
        assert all(reply.code == "rate_limited" and int(reply.headers["Retry-After"]) > 0 for reply in away)
        assert await site.metric("posthouse_api_total", status="429") == len(away)
        assert (await site.rest("GET", "/v1/conversations", user="dan")).status == 200


# ------------------------------------------------------------------------------------------------------------------


def replaced(**changes: float) -> Limits:
    """Limits for tests that are about one of them."""
    return msgspec.structs.replace(UNHURRIED, **changes)


async def _until_live(site: Site, user: str) -> None:
    while not any(each.user == user for each in site.node.gateway.sessions.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def _until_connections(site: Site, most: int) -> None:
    assert site.node._listener is not None
    while site.node._listener.statistics()["connections_open"] > most:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
