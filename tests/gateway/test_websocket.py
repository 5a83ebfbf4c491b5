"""A WebSocket over a real socket: messages, closing from either end, violations, slow readers."""

import asyncio
import gc
import socket
import struct
from typing import Any

import psutil
import pytest
import websockets
from websockets.asyncio.client import connect

from posthouse.gateway.connections import SocketLimits
from posthouse.gateway.upgrade import UpgradeRequest
from posthouse.gateway.websocket import Socket, SocketHandler, encode_frame
from posthouse.kit.clock import ManualClock
from tests.gateway.peers import (
    DEFLATE,
    HOST,
    UPGRADE,
    Peer,
    Recorder,
    Served,
    client_frame,
    head,
    opening,
    serving,
    until,
)
from tests.gateway.test_wire import BOMB, VIOLATIONS

SUBPROTOCOL = websockets.Subprotocol("posthouse.v1.json")


async def echo(served: Served, peer: Peer) -> None:
    """The connection still carries messages."""
    peer.send(client_frame(0x81, b"still here"))
    assert await peer.read_frame() == (0x81, b"still here")


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_messages_of_all_sizes_pass_to_and_from_another_library(compression: str | None) -> None:
    sizes = [0, 1, 125, 126, 255, 256, 10_000, 65_535, 65_536]
    async with (
        serving() as served,
        connect(served.url, subprotocols=[SUBPROTOCOL], compression=compression, max_size=None) as client,
    ):
        assert client.subprotocol == SUBPROTOCOL
        assert bool(client.protocol.extensions) == (compression is not None)
        for size in sizes:
            message = ("grüße " * size).encode()[:size].decode(errors="ignore")
            await client.send(message)
            assert await client.recv() == message
    assert len(served.handlers[0].messages) == len(sizes)


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_fragments_with_pings_between_them_arrive_as_one_message(compression: str | None) -> None:
    async with (
        serving() as served,
        connect(served.url, subprotocols=[SUBPROTOCOL], compression=compression) as client,
    ):
        await client.send(["one ", "two ", "three" * 100])
        assert await client.recv() == "one two " + "three" * 100
        waiter = await client.ping(b"abc")
        assert await asyncio.wait_for(waiter, 5) >= 0


async def test_a_large_outgoing_message_is_compressed_for_those_who_agreed_to_it() -> None:
    message = b"again and again " * 100
    async with serving() as served, opening(served) as plain, opening(served, **_named(DEFLATE)) as deflating:
        frame = encode_frame(message)
        for handler in served.handlers:
            handler.socket.send(frame)
        assert await plain.read_frame() == (0x81, message)
        start, payload = await deflating.read_frame()
        assert start == 0xC1
        assert len(payload) < len(message) / 4


async def test_pings_are_answered_while_a_message_is_unfinished() -> None:
    async with serving() as served, opening(served) as peer:
        peer.send(client_frame(0x01, b"he") + client_frame(0x89, b"abc") + client_frame(0x80, b"llo"))
        assert await peer.read_frame() == (0x8A, b"abc")
        assert await peer.read_frame() == (0x81, b"hello")


@pytest.mark.parametrize(
    ("payload", "answer", "code"), [(b"\x03\xe8bye", 1000, 1000), (b"\x0f\xa1", 4001, 4001), (b"", 0, 1005)]
)
async def test_a_close_is_answered_and_the_server_closes_the_connection(
    payload: bytes, answer: int, code: int
) -> None:
    async with serving() as served, opening(served) as peer:
        peer.send(client_frame(0x88, payload) + client_frame(0x81, b"too late"))
        assert await peer.read_close() == answer
        await until(lambda: served.handlers[0].codes == [code])
        assert served.handlers[0].messages == []


async def test_a_close_by_the_server_waits_for_the_answer_and_takes_no_more_messages() -> None:
    async with serving() as served, connect(served.url, subprotocols=[SUBPROTOCOL]) as client:
        socket_ = served.handlers[0].socket
        socket_.close(4001, "go elsewhere")
        socket_.close(4002, "the first close counts")
        socket_.send(encode_frame(b"never sent"))
        await client.send("never received")
        with pytest.raises(websockets.ConnectionClosed) as caught:
            await client.recv()
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "go elsewhere")  # type: ignore[union-attr]
        await until(lambda: served.handlers[0].codes == [4001])
        assert served.handlers[0].messages == []
        assert served.count("close_timeouts") == 0


async def test_a_peer_that_does_not_answer_a_close_is_cut_off() -> None:
    clock = ManualClock()
    async with serving(SocketLimits(close_timeout_ms=1000), clock=clock) as served, opening(served) as peer:
        served.handlers[0].socket.close(4001)
        assert (await peer.read_frame())[0] == 0x88
        await clock.advance(0.9)
        assert served.handlers[0].codes == []
        await clock.advance(0.4)
        await until(lambda: served.handlers[0].codes == [4001])
        assert served.count("close_timeouts") == 1


async def test_an_aborted_socket_is_gone_without_a_word() -> None:
    async with serving() as served, opening(served) as peer:
        served.handlers[0].socket.abort()
        served.handlers[0].socket.send(encode_frame(b"swallowed"))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await peer.read_frame()
        await until(lambda: served.handlers[0].codes == [1006])


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_a_violation_closes_with_its_code_and_is_counted(name: str) -> None:
    code, wire = VIOLATIONS[name]
    counter = {
        1002: "protocol_violations",
        1003: "binary_messages",
        1007: "invalid_data",
        1009: "messages_too_large",
    }
    async with serving(SocketLimits(message_bytes_max=70_000, fragments_max=50)) as served:
        async with opening(served) as peer, opening(served) as bystander:
            peer.send(wire)
            start, payload = await peer.read_frame()
            while start == 0x81:  # what came before the violation was echoed
                start, payload = await peer.read_frame()
            assert (start, int.from_bytes(payload[:2], "big")) == (0x88, code)
            assert await peer.read_end() == b""
            await echo(served, bystander)
            assert served.count(counter[code]) == 1
        await until(lambda: served.handlers[0].codes == [code])


async def test_a_deflate_bomb_closes_with_too_large() -> None:
    async with serving() as served, opening(served, **_named(DEFLATE)) as peer:
        peer.send(client_frame(0xC1, BOMB))
        assert await peer.read_close() == 1009
        assert served.handlers[0].messages == []


async def test_another_library_understands_why_it_was_closed() -> None:
    async with serving() as served, connect(served.url, subprotocols=[SUBPROTOCOL]) as client:
        await client.send(b"binary")
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await client.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003


async def test_more_control_frames_than_allowed_close_with_policy_violation() -> None:
    limits = SocketLimits(control_frames_per_s_max=5)
    clock = ManualClock()
    async with serving(limits, clock=clock) as served, opening(served) as peer:
        for _ in range(3):  # a full allowance each second is fine
            peer.send(client_frame(0x89) * 5)
            for _ in range(5):
                assert await peer.read_frame() == (0x8A, b"")
            await clock.advance(1.0)
        peer.send(client_frame(0x8A) * 6)
        assert await peer.read_close() == 1008
        assert served.count("control_floods") == 1


async def test_a_slow_reader_overflows_and_nobody_else_is_delayed() -> None:
    limits = SocketLimits(outbox_bytes_max=64 * 1024, kernel_outbox_bytes=16 * 1024, close_timeout_ms=1000)
    clock = ManualClock()
    async with serving(limits, clock=clock) as served, opening(served) as reading:
        with _slow_peer(served):
            await until(lambda: len(served.handlers) == 2)
            fast, slow = served.handlers
            frame, sent = encode_frame(b"x" * 4000), 0
            while not slow.overflows:
                for handler in (slow, fast):
                    handler.socket.send(frame)
                assert await reading.read_frame() == (0x81, b"x" * 4000)
                sent += 1
            assert sent < 500, "it overflows after what its outbox and the kernel hold"
            assert slow.socket.buffered_bytes <= limits.outbox_bytes_max + 2 * len(frame.plain)
            assert (fast.overflows, fast.socket.buffered_bytes, slow.overflows) == (0, 0, 1)
            slow.socket.close(4002, "slow reader")
            await clock.advance(1.3)
            await until(lambda: slow.codes == [4002])
        assert served.count("overflows") == 1
        assert served.count("close_timeouts") == 1
        await echo(served, reading)


async def test_a_socket_that_is_closing_does_not_overflow() -> None:
    limits = SocketLimits(outbox_bytes_max=64 * 1024, kernel_outbox_bytes=16 * 1024)
    async with serving(limits) as served:
        with _slow_peer(served):
            await until(lambda: served.handlers)
            slow = served.handlers[0]
            while not slow.socket.buffered_bytes:
                slow.socket.send(encode_frame(b"x" * 4000))
                await asyncio.sleep(0.001)
            room = limits.outbox_bytes_max - slow.socket.buffered_bytes - len(encode_frame(b"x" * 4000).plain)
            slow.socket.send(encode_frame(b"x" * (room + 4000)))
            assert slow.socket.buffered_bytes == limits.outbox_bytes_max
            slow.socket.close(4001)
            assert slow.socket.buffered_bytes > limits.outbox_bytes_max
            assert slow.overflows == 0


async def test_a_peer_that_stops_sending_and_never_reads_is_cut_off() -> None:
    """It has said goodbye on TCP, but what waits for it can never be written."""
    limits = SocketLimits(outbox_bytes_max=1 << 20, kernel_outbox_bytes=16 * 1024, close_timeout_ms=1000)
    clock = ManualClock()
    async with serving(limits, clock=clock) as served:
        with _slow_peer(served) as slow:
            await until(lambda: served.handlers)
            for _ in range(200):
                served.handlers[0].socket.send(encode_frame(b"x" * 4000))
            slow.shutdown(socket.SHUT_WR)
            await until(lambda: served.handlers[0].socket._deaf)
            assert served.handlers[0].codes == []
            await clock.advance(1.3)
            await until(lambda: served.handlers[0].codes == [1006])


async def test_several_sends_of_one_turn_arrive_in_order_as_one_segment() -> None:
    async with serving() as served, opening(served) as peer:
        for number in range(3):
            served.handlers[0].socket.send(encode_frame(b"%d" % number))
        assert await asyncio.wait_for(peer.reader.read(100), 5) == b"\x81\x010\x81\x011\x81\x012"


async def test_an_error_in_a_handler_aborts_its_connection_only() -> None:
    class Failing(Recorder):
        def received(self, message: bytes) -> None:
            if message == b"poison":
                raise LookupError("poison")
            super().received(message)

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    handlers: list[Failing] = []

    def accept(socket_: Socket, request: UpgradeRequest) -> SocketHandler:
        handlers.append(Failing(socket_, request))
        return handlers[-1]

    async with serving(accept=accept) as served, opening(served) as peer, opening(served) as bystander:
        peer.send(client_frame(0x81, b"poison"))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await peer.read_frame()
        await until(lambda: handlers[0].codes == [1006])
        assert [type(context["exception"]) for context in reported] == [LookupError]
        assert served.count("handler_failures") == 1
        await echo(served, bystander)


async def test_abrupt_disconnects_leave_nothing_behind() -> None:
    async with serving() as served:
        async with opening(served):
            pass  # the event loop keeps a descriptor in reserve from its first connection on
        await until(lambda: served.listener.statistics()["connections_open"] == 0)
        served.handlers.clear()
        files = psutil.Process().num_fds()
        for number in range(10):
            async with opening(served) as peer:
                peer.send(client_frame(0x81, b"hello") + client_frame(0x01, b"unfinished") + b"\x80\xfe")
                assert await peer.read_frame() == (0x81, b"hello")
                reset = struct.pack("ii", 1, 0) if number % 2 else struct.pack("ii", 0, 0)
                peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        await until(lambda: served.listener.statistics()["connections_open"] == 0)
        assert [handler.codes for handler in served.handlers] == [[1006]] * 10
        served.handlers.clear()
        await until(lambda: psutil.Process().num_fds() == files)
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Socket)]


async def test_a_socket_knows_its_peer_and_keeps_no_request() -> None:
    async with serving() as served, opening(served):
        handler = served.handlers[0]
        assert handler.socket.peer == HOST
        assert handler.request not in gc.get_referents(handler.socket)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}


def _slow_peer(served: Served) -> socket.socket:
    """An open WebSocket over which nothing is ever read."""
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect((HOST, served.listener.port))
    slow.sendall(head(UPGRADE))
    return slow
