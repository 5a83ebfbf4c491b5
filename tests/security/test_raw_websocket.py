"""A WebSocket client without a library: bytes cut anywhere, frames that nobody may send, every kind of goodbye."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from posthouse.app.config.values import Canary, Limits, Tls
from tests.gateway.peers import DEFLATE, UPGRADE, Peer, client_frame, head
from tests.security.authority import Authority
from tests.security.raw import raw
from tests.security.serving import config, running, token
from tests.security.site import Town

FINAL, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PING_FRAME = client_frame(FINAL | TEXT, b'{"t":"ping"}')
PONG_MESSAGE = b'{"t":"pong"}'


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    unhurried = Limits(frames_per_connection_per_s=1e6, frames_per_connection_burst=1e6)
    settings = config(tmp_path / "data", canary=Canary(interval_s=0), limits=unhurried)
    async with running(settings) as node, Town.around(node) as town:
        yield town


@asynccontextmanager
async def live(town: Town, headers: dict[str, str] | None = None) -> AsyncIterator[Peer]:
    """A session, made of bytes; after the test somebody else is served as ever."""
    async with raw(town.node.port) as peer:
        peer.send(head(UPGRADE | (headers or {})))
        assert "101 Switching Protocols" in await peer.read_response()
        peer.send(hello())
        assert b'"welcome"' in plain(*await peer.read_frame())
        yield peer
    async with town.talking(token("ben")) as ben:
        assert (await ben.ask({"t": "ping"}))["t"] == "pong"


def plain(start: int, payload: bytes) -> bytes:
    """A message, inflated where it is compressed."""
    inflating = zlib.decompressobj(wbits=-15)
    return inflating.decompress(payload + b"\0\0\xff\xff") if start & RSV1 else payload


def hello() -> bytes:
    frame = {"t": "hello", "token": token("ann"), "device": "phone", "heartbeat_s": 300}
    return client_frame(FINAL | TEXT, json.dumps(frame).encode())


async def pongs(peer: Peer) -> None:
    """The session goes on."""
    assert await peer.read_frame() == (FINAL | TEXT, PONG_MESSAGE)


async def closes(peer: Peer, code: int) -> None:
    assert await peer.read_close() == code


# Cut anywhere -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True], ids=["in the clear", "over TLS"])
async def test_a_session_that_comes_byte_by_byte_is_a_session(
    authority: Authority, tmp_path: Path, encrypted: bool
) -> None:
    """From the first byte of the request to the last of the goodbye."""
    settings = config(tmp_path / "data", tls=authority.issue().tls if encrypted else Tls())
    async with running(settings) as node, raw(node.port, authority.client if encrypted else None) as peer:
        await trickle(peer, head(UPGRADE) + hello())
        assert "101" in await peer.read_response()
        assert b'"welcome"' in (await peer.read_frame())[1]
        await trickle(peer, PING_FRAME)
        await pongs(peer)
        await trickle(peer, client_frame(FINAL | CLOSE, b"\x03\xe8"))
        await closes(peer, 1000)


async def trickle(peer: Peer, data: bytes) -> None:
    """Each byte for itself."""
    for byte in data:
        peer.send(bytes((byte,)))
        await asyncio.sleep(0)


async def test_a_frame_may_be_cut_at_every_byte(town: Town) -> None:
    """Small, of two length bytes and of eight; whole, in two fragments with a ping between."""
    messages = [
        b'{"t":"ping"}',
        b'{"t":"ping","x":"' + b"x" * 200 + b'"}',
        b'{"t":"ping","x":"\xe4\xbd\xa0"}',
    ]
    async with live(town) as peer:
        for message in messages:
            frame = client_frame(FINAL | TEXT, message)
            for at in range(1, len(frame)):
                peer.send(frame[:at])
                await asyncio.sleep(0)
                peer.send(frame[at:])
                await pongs(peer)
        for message in messages:
            for at in range(len(message) + 1):
                peer.send(client_frame(TEXT, message[:at]) + client_frame(FINAL | CONTINUATION, message[at:]))
                await pongs(peer)
        message = messages[0]
        for at in range(len(message) + 1):  # as many as control frames may come in a second
            peer.send(client_frame(TEXT, message[:at]) + client_frame(FINAL | PING, b"between"))
            peer.send(client_frame(FINAL | CONTINUATION, message[at:]))
            assert await peer.read_frame() == (FINAL | PONG, b"between")
            await pongs(peer)


async def test_request_hello_and_more_may_come_in_one_piece(town: Town) -> None:
    async with raw(town.node.port) as peer:
        peer.send(head(UPGRADE) + hello() + PING_FRAME * 50)
        assert "101" in await peer.read_response()
        heard = [await peer.read_frame() for _ in range(51)]
    assert sum(message == PONG_MESSAGE for _, message in heard) == 50


@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"{}{}"])
async def test_any_mask_will_do(town: Town, key: bytes) -> None:
    async with live(town) as peer:
        for size in (0, 1, 2, 3, 4, 5, 7, 8, 100, 125, 126, 127, 1_000, 60_000):
            peer.send(client_frame(FINAL | TEXT, b'{"t":"ping","x":"' + b"x" * size + b'"}', key))
            await pongs(peer)


# What nobody may send ---------------------------------------------------------------------------------------------


def sized(start: int, marker: int, length: bytes, payload: bytes = b"") -> bytes:
    """A frame with a length of any form, masked with zeros."""
    return bytes((start, 0x80 | marker)) + length + b"\0\0\0\0" + payload


WRONG = {
    "no mask": (bytes((FINAL | TEXT, 12)) + b'{"t":"ping"}', 1002),
    "no mask on a close": (bytes((FINAL | CLOSE, 0)), 1002),
    **{f"reserved bit {bit:#x}": (client_frame(FINAL | bit | TEXT, b"{}"), 1002) for bit in (RSV1, RSV2, RSV3)},
    **{f"reserved bit {bit:#x} of a ping": (client_frame(FINAL | bit | PING), 1002) for bit in (RSV1, RSV2, RSV3)},
    **{f"opcode {code:#x}": (client_frame(FINAL | code, b"x"), 1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a ping in pieces": (client_frame(PING, b"x"), 1002),
    "a close in pieces": (client_frame(CLOSE, b"\x03\xe8"), 1002),
    "a ping of 126 bytes": (client_frame(FINAL | PING, b"x" * 126), 1002),
    "a close of 126 bytes": (client_frame(FINAL | CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "a continuation of nothing": (client_frame(FINAL | CONTINUATION, b"{}"), 1002),
    "a message within a message": (client_frame(TEXT, b"{") + client_frame(FINAL | TEXT, b"}"), 1002),
    "a small length in two bytes": (sized(FINAL | TEXT, 126, b"\x00\x02", b"{}"), 1002),
    "a small length in eight bytes": (sized(FINAL | TEXT, 127, bytes(7) + b"\x02", b"{}"), 1002),
    "a length beyond all": (sized(FINAL | TEXT, 127, b"\xff" * 8), 1002),
    "a length of four exabytes": (sized(FINAL | TEXT, 127, b"\x40" + bytes(7)), 1009),
    "a byte too many": (sized(FINAL | TEXT, 127, (65_537).to_bytes(8, "big")), 1009),
    "too much in fragments": (client_frame(TEXT, b"x" * 60_000) + client_frame(0, b"x" * 60_000), 1009),
    "fragments without end": (client_frame(TEXT) + client_frame(0) * 1_100, 1009),
    "bytes": (client_frame(FINAL | BINARY, b'{"t":"ping"}'), 1003),
    "no UTF-8": (client_frame(FINAL | TEXT, b"\xc3\x28"), 1007),
    "half a character": (client_frame(FINAL | TEXT, b'"\xe4\xbd'), 1007),
    "a surrogate in UTF-8": (client_frame(FINAL | TEXT, b'"\xed\xa0\x80"'), 1007),
    "too many pings": (client_frame(FINAL | PING) * 50, 1008),
    "a close of one byte": (client_frame(FINAL | CLOSE, b"\x03"), 1002),
    "a close with words that are no UTF-8": (client_frame(FINAL | CLOSE, b"\x03\xe8\xff"), 1007),
    **{f"a close with {code}": (client_frame(FINAL | CLOSE, code.to_bytes(2, "big")), 1002)
       for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_what_rfc_6455_forbids_closes_with_the_code_that_says_so(town: Town, name: str) -> None:
    """And nothing that comes behind it in the same piece is looked at."""
    sent, code = WRONG[name]
    async with live(town) as peer:
        peer.send(sent + PING_FRAME)
        while (frame := await peer.read_frame())[0] == FINAL | PONG:
            pass
        assert (frame[0], int.from_bytes(frame[1][:2], "big")) == (FINAL | CLOSE, code)
        assert await peer.read_end() == b""


@pytest.mark.parametrize(
    "frame",
    [client_frame(FINAL | RSV1 | PING), client_frame(TEXT, b"{") + client_frame(FINAL | RSV1 | CONTINUATION, b"}")],
    ids=["a ping", "a continuation"],
)  # fmt: skip
async def test_only_a_message_s_first_frame_may_say_that_it_is_compressed(town: Town, frame: bytes) -> None:
    """RFC 7692, 6.1; with compression agreed on."""
    async with live(town, DEFLATE) as peer:
        peer.send(frame)
        await closes(peer, 1002)


# Goodbyes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload", [b"", b"\x03\xe8", b"\x03\xe9going away", b"\x0f\xa0", b"\x0b\xb8" + b"x" * 123]
)
async def test_a_close_is_answered_with_its_own_code(town: Town, payload: bytes) -> None:
    async with live(town) as peer:
        peer.send(client_frame(FINAL | CLOSE, payload))
        await closes(peer, int.from_bytes(payload[:2], "big"))


async def test_nothing_is_heard_after_a_close(town: Town) -> None:
    async with live(town) as peer:
        peer.send(client_frame(FINAL | CLOSE, b"\x03\xe8") + PING_FRAME * 3 + b"\xff" * 1_000)
        await closes(peer, 1000)


async def test_a_close_in_the_middle_of_a_message_is_a_close(town: Town) -> None:
    async with live(town) as peer:
        peer.send(client_frame(TEXT, b'{"t":') + client_frame(FINAL | CLOSE, b"\x03\xe8"))
        await closes(peer, 1000)


@pytest.mark.parametrize("how", ["it ends its side", "it breaks off", "in the middle of a frame"])
async def test_who_leaves_without_a_word_leaves_nothing_behind(town: Town, how: str) -> None:
    async with live(town) as peer:
        if how == "in the middle of a frame":
            peer.send(PING_FRAME[:5])
        if how == "it breaks off":
            peer.writer.transport.abort()
        else:
            peer.writer.write_eof()
            assert await peer.read_end() == b""
        async with asyncio.timeout(10):
            while town.node.gateway.clients_count:  # noqa: ASYNC110 - it is seen from outside only
                await asyncio.sleep(0.01)


async def test_what_a_client_says_after_the_server_s_goodbye_is_not_looked_at(town: Town) -> None:
    """The one whose frame was no frame of ours is told so once, however much follows."""
    async with live(town) as peer:
        peer.send(client_frame(FINAL | TEXT, b"no frame") + PING_FRAME * 100)
        assert b'"goaway"' in (await peer.read_frame())[1]
        start, payload = await peer.read_frame()
        assert (start, int.from_bytes(payload[:2], "big")) == (FINAL | CLOSE, 4301)
        peer.send(client_frame(FINAL | CLOSE, payload[:2]))
        assert await peer.read_end() == b""
