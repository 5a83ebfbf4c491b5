"""One port for two protocols: who is handed on to whom, who is refused, and how it stops."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from websockets import ConnectionClosedError, Subprotocol
from websockets.asyncio.client import connect

from posthouse.gateway.connections import SocketLimits
from posthouse.gateway.upgrade import Refusal, UpgradeRequest
from posthouse.gateway.websocket import Socket, SocketHandler, encode_frame
from posthouse.kit.clock import ManualClock
from posthouse.protocol import SUBPROTOCOL
from tests.gateway.peers import (
    HOST,
    UPGRADE,
    Peer,
    Recorder,
    client_frame,
    connecting,
    head,
    opening,
    serving,
    until,
)

HELLO = head({"Host": "h"}, "GET /hello HTTP/1.1")


async def read_body(peer: Peer) -> bytes:
    length = next(
        line for line in (await peer.read_response()).split("\r\n") if line.startswith("Content-Length")
    )
    return await peer.reader.readexactly(int(length.split(": ")[1]))


async def test_http_and_websocket_share_the_port() -> None:
    async with serving() as served, aiohttp.ClientSession(f"http://{HOST}:{served.listener.port}") as http:
        async with opening(served) as peer:
            peer.send(client_frame(0x81, b"hi"))
            assert await peer.read_frame() == (0x81, b"hi")
            async with http.get("/hello") as response:
                assert await response.text() == "GET /hello 0"
        assert served.count("http_connections") == 1
        assert served.count("sockets_opened") == 1


async def test_an_http_connection_serves_several_requests() -> None:
    async with serving() as served, connecting(served) as peer:
        for _ in range(3):
            peer.send(HELLO)
            assert await read_body(peer) == b"GET /hello 0"
        peer.send(HELLO + HELLO)
        assert [await read_body(peer), await read_body(peer)] == [b"GET /hello 0"] * 2
        assert served.count("http_connections") == 1


async def test_a_body_of_many_segments_arrives_whole() -> None:
    async with serving() as served, connecting(served) as peer:
        body = b"x" * 300_000
        peer.send(head({"Host": "h", "Content-Length": str(len(body))}, "POST /upload HTTP/1.1") + body[:10])
        await asyncio.sleep(0.01)
        peer.send(body[10:])
        assert await read_body(peer) == b"POST /upload 300000"


async def test_an_upgrade_on_another_path_is_left_to_http() -> None:
    async with serving() as served, connecting(served) as peer:
        peer.send(head(UPGRADE, "GET /v1/other HTTP/1.1"))
        assert "101" not in await peer.read_response()
        assert served.count("http_connections") == 1


async def test_a_request_head_may_come_byte_by_byte() -> None:
    async with serving() as served, connecting(served) as peer:
        for byte in head(UPGRADE):
            peer.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert "101" in await peer.read_response()
        peer.send(client_frame(0x81, b"hi"))
        assert await peer.read_frame() == (0x81, b"hi")


async def test_the_first_frames_may_come_with_the_request() -> None:
    async with serving() as served, connecting(served) as peer:
        first = client_frame(0x81, b"one") + client_frame(0x81, b"two")
        peer.send(head(UPGRADE) + first[:-2])
        assert "101" in await peer.read_response()
        assert await peer.read_frame() == (0x81, b"one")
        peer.send(first[-2:])
        assert await peer.read_frame() == (0x81, b"two")


@pytest.mark.parametrize("body", [b"", b"x" * 20_000])
async def test_a_head_that_is_too_large_is_refused(body: bytes) -> None:
    async with serving(SocketLimits(head_bytes_max=10_000)) as served, connecting(served) as peer:
        peer.send(head({"X-Long": "x" * 10_000}) + body if not body else b"GET /" + body)
        assert (await peer.read_response()).startswith("HTTP/1.1 431 ")
        await peer.read_end()
        assert served.count("heads_too_large") == 1


@pytest.mark.parametrize("start", [b"", b"GET /v1/ws HT", b"\x16\x03\x01\x02"])
async def test_a_client_that_sends_its_head_too_slowly_is_cut_off(start: bytes) -> None:
    clock = ManualClock()
    limits = SocketLimits(head_timeout_ms=1000, close_timeout_ms=1000)
    async with serving(limits, clock=clock) as served, connecting(served) as peer:
        peer.send(start)
        await until(lambda: served.count("connections_accepted"))
        await clock.advance(0.9)
        peer.send(b"x")
        await asyncio.sleep(0.01)
        await clock.advance(0.4)
        assert (await peer.read_response()).startswith("HTTP/1.1 408 ")
        await peer.read_end()
        assert served.count("head_timeouts") == 1
        await clock.advance(1.3)  # it does not close either
        await until(lambda: served.count("connections_open") == 0)


async def test_a_client_whose_head_came_in_time_is_not_cut_off() -> None:
    clock = ManualClock()
    limits = SocketLimits(head_timeout_ms=1000)
    async with serving(limits, clock=clock) as served, opening(served) as peer, connecting(served) as http:
        http.send(HELLO)
        assert await read_body(http) == b"GET /hello 0"
        await clock.advance(60)
        http.send(HELLO)
        assert await read_body(http) == b"GET /hello 0"
        peer.send(client_frame(0x81, b"hi"))
        assert await peer.read_frame() == (0x81, b"hi")


@pytest.mark.parametrize(
    ("headers", "status", "counter"),
    [
        ({"Sec-WebSocket-Protocol": "chat"}, 400, "subprotocols_refused"),
        ({"Origin": "https://evil.example"}, 403, "origins_refused"),
        ({"Upgrade": "h2c"}, 426, "upgrades_bad"),
    ],
)
async def test_a_bad_upgrade_is_refused_and_counted(
    headers: dict[str, str], status: int, counter: str
) -> None:
    async with serving(allowed_origins=("https://chat.example",)) as served, connecting(served) as peer:
        peer.send(head(UPGRADE | headers) + client_frame(0x81, b"ignored"))
        assert f" {status} " in await peer.read_response()
        assert b'"reason"' in await peer.read_end()
        assert served.count(counter) == 1
        assert served.handlers == []
        peer.writer.close()
        await until(lambda: served.count("connections_open") == 0)


async def test_whoever_accepts_may_refuse_and_say_when_to_come_back() -> None:
    def refuse(opened: Socket, request: UpgradeRequest) -> Refusal:
        return Refusal(429, f"not you, {request.query}", retry_after_ms=2500)

    async with serving(accept=refuse) as served, connecting(served) as peer:
        peer.send(head(UPGRADE, "GET /v1/ws?bob HTTP/1.1"))
        assert "\r\nRetry-After: 3\r\n" in await peer.read_response()
        assert await peer.read_end() == b'{"reason": "not you, bob", "retry_after_ms": 2500}'
        assert served.count("upgrades_refused") == 1


async def test_nothing_can_be_sent_before_the_socket_is_open() -> None:
    """It would come before the response that opens it."""
    caught: list[RuntimeError] = []

    def accept(opened: Socket, request: UpgradeRequest) -> SocketHandler:
        with pytest.raises(RuntimeError) as error:
            opened.send(encode_frame(b"too early"))
        caught.append(error.value)
        return Recorder(opened, request)

    async with serving(accept=accept) as served, opening(served):
        assert len(caught) == 1


async def test_connections_beyond_the_limit_are_told_to_come_back_and_further_ones_at_once() -> None:
    limits = SocketLimits(connections_max=2, refusals_max=1, retry_after_ms=4000)
    async with serving(limits) as served, opening(served) as first, connecting(served) as second:
        second.send(HELLO)
        assert await read_body(second) == b"GET /hello 0"
        async with connecting(served) as third, connecting(served) as fourth:
            for peer in (third, fourth):
                assert "503" in await peer.read_response()
                assert "\r\nRetry-After: 4\r\n" in peer.response
        await until(lambda: served.count("connections_open") == 2)
        assert served.count("connections_refused") == 2
        first.send(client_frame(0x88))
        await first.read_end()
        await until(lambda: served.count("connections_open") == 1)
        async with opening(served):
            assert served.count("sockets_open") == 1


async def test_it_stops_when_every_client_has_answered_the_close() -> None:
    async with serving() as served, opening(served) as peer, connecting(served) as silent:
        await until(lambda: served.count("connections_open") == 2)
        stopping = asyncio.get_running_loop().create_task(served.listener.stop(4007, "the node stops"))
        start, payload = await peer.read_frame()
        assert (start, payload) == (0x88, b"\x0f\xa7the node stops")
        assert not stopping.done()
        peer.send(client_frame(0x88, payload))
        await asyncio.wait_for(stopping, 5)
        assert served.handlers[0].codes == [4007]
        assert await silent.read_end() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, served.listener.port)


async def test_it_stops_without_those_who_do_not_answer() -> None:
    clock = ManualClock()
    limits = SocketLimits(close_timeout_ms=1000)
    async with serving(limits, clock=clock) as served, opening(served), connecting(served) as http:
        http.send(HELLO)
        assert await read_body(http) == b"GET /hello 0"
        stopping = asyncio.get_running_loop().create_task(served.listener.stop())
        await clock.advance(0.9)
        assert not stopping.done()
        await clock.advance(0.4)
        await asyncio.wait_for(stopping, 5)


async def test_sockets_send_without_delay_and_with_bounded_kernel_buffers() -> None:
    """A chat message waits for no other; what the kernel holds for a slow reader is limited too."""
    limits = SocketLimits(kernel_outbox_bytes=32_768, kernel_inbox_bytes=32_768)
    async with serving(limits) as served, opening(served):
        underlying = served.handlers[0].socket._transport.get_extra_info("socket")
        assert underlying.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            assert (
                underlying.getsockopt(socket.SOL_SOCKET, option) == 2 * 32_768
            )  # Linux doubles what is asked


async def test_a_port_that_is_taken_is_an_error_of_the_operating_system() -> None:
    async with serving() as served, serving() as other:
        with pytest.raises(OSError, match="in use"):
            await other.listener.start(HOST, served.listener.port)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel has no such timeout")
async def test_a_client_that_never_reads_its_http_response_is_dropped() -> None:
    """The response is larger than all buffers, so that it can never be written to the end."""
    limits = SocketLimits(unread_timeout_ms=300, kernel_outbox_bytes=16 * 1024)
    async with serving(limits) as served:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((HOST, served.listener.port))
            deaf.sendall(head({"Host": "h"}, "GET /large HTTP/1.1"))
            await until(lambda: served.count("unread_timeouts") == 1)
            await until(lambda: served.count("connections_open") == 0)


async def test_it_serves_over_tls_too(tmp_path: Path) -> None:
    server_tls, client_tls = make_tls(tmp_path)
    async with serving(tls=server_tls) as served:
        url = served.url.replace("ws:", "wss:")
        async with connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], ssl=client_tls) as client:
            await client.send("hello " * 10_000)
            assert await client.recv() == "hello " * 10_000
            await client.send(b"binary")
            with pytest.raises(ConnectionClosedError) as caught:
                await client.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1003
        await until(lambda: served.count("connections_open") == 0)


def make_tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for a server at `HOST` and for a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(
        Encoding.PEM
    )
    (folder / "server.pem").write_bytes(pem)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(folder / "server.pem")
    return server_tls, ssl.create_default_context(cadata=certificate.public_bytes(Encoding.PEM).decode())
