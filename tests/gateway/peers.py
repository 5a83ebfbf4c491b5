"""Both ends of a listener under test: a handler that records, and a client that sends any bytes it likes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from aiohttp import web

from posthouse.gateway.connections import SocketLimits
from posthouse.gateway.listener import Listener
from posthouse.gateway.upgrade import Refusal, UpgradeRequest
from posthouse.gateway.websocket import Socket, SocketHandler, encode_frame
from posthouse.kit.clock import Clock, SystemClock

PATIENCE_S = 10
HOST = "127.0.0.1"
UPGRADE = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "posthouse.v1.json",
}
DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate"}


class Recorder:
    """A handler that sends each message back and keeps what it was told."""

    def __init__(self, socket: Socket, request: UpgradeRequest) -> None:
        self.socket = socket
        self.request = request
        self.messages: list[bytes] = []
        self.overflows = 0
        self.codes: list[int] = []

    def received(self, message: bytes) -> None:
        self.messages.append(message)
        self.socket.send(encode_frame(message))

    def overflowed(self) -> None:
        self.overflows += 1

    def closed(self, code: int) -> None:
        self.codes.append(code)


@dataclass
class Served:
    """A listener that runs, and the handlers of its sockets in the order they opened."""

    listener: Listener
    handlers: list[Recorder] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.listener.port}/v1/ws"

    def count(self, counter: str) -> int:
        return self.listener.statistics()[counter]


Accept = Callable[[Socket, UpgradeRequest], SocketHandler | Refusal]


async def _answer(request: web.BaseRequest) -> web.Response:
    if request.path == "/large":
        return web.Response(body=b"x" * 1_000_000)
    return web.Response(text=f"{request.method} {request.path} {len(await request.read())}")


@contextlib.asynccontextmanager
async def serving(
    limits: SocketLimits | None = None,
    accept: Accept | None = None,
    clock: Clock | None = None,
    allowed_origins: tuple[str, ...] = ("*",),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Served]:
    """A listener on a free port whose HTTP answers with the method, the path and the size of the body, or largely."""
    http = web.Server(_answer, access_log=None)
    served: Served

    def record(socket: Socket, request: UpgradeRequest) -> Recorder:
        served.handlers.append(Recorder(socket, request))
        return served.handlers[-1]

    listener = Listener(
        limits or SocketLimits(),
        accept or record,
        http,
        clock=clock or SystemClock(),
        allowed_origins=allowed_origins,
    )
    served = Served(listener)
    await listener.start(HOST, 0, None if tls is None else lambda: tls)
    try:
        yield served
    finally:
        for connection in tuple(listener.connections.open):
            connection.expire()
            connection.expire()  # the first one lets a new connection be told that it was late
        await http.shutdown(0)
        await listener.stop()


class Peer:
    """A client without a WebSocket library: what is sent is up to the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.response = ""

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_response(self) -> str:
        """The head of an HTTP response."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        self.response = head.decode()
        return self.response

    async def read_frame(self) -> tuple[int, bytes]:
        """The next frame as (first byte, payload)."""
        async with asyncio.timeout(PATIENCE_S):
            start, size = await self.reader.readexactly(2)
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return start, await self.reader.readexactly(size)

    async def read_close(self) -> int:
        """The code of the close frame that comes next, after which nothing more comes; 0 if it carries none."""
        start, payload = await self.read_frame()
        assert start == 0x88, f"frame {start:#x} {payload!r} instead of a close"
        assert await self.read_end() == b""
        return int.from_bytes(payload[:2], "big")

    async def read_end(self) -> bytes:
        """What still comes before the server closes."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE_S)


@contextlib.asynccontextmanager
async def connecting(served: Served) -> AsyncIterator[Peer]:
    """A TCP connection to the listener."""
    reader, writer = await asyncio.open_connection(HOST, served.listener.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def opening(served: Served, **headers: str) -> AsyncIterator[Peer]:
    """An open WebSocket."""
    async with connecting(served) as peer:
        peer.send(head(UPGRADE | {name.replace("_", "-"): value for name, value in headers.items()}))
        assert "101" in await peer.read_response()
        yield peer


def head(headers: dict[str, str], request: str = "GET /v1/ws HTTP/1.1") -> bytes:
    return "".join(
        f"{line}\r\n" for line in (request, *(f"{k}: {v}" for k, v in headers.items()), "")
    ).encode()


def client_frame(start: int, payload: bytes = b"", key: bytes = b"\x01\x80\xfe\x37") -> bytes:
    """A masked frame with any first byte."""
    size = len(payload)
    if size < 126:
        header = bytes((start, 0x80 | size))
    elif size < 1 << 16:
        header = bytes((start, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((start, 0x80 | 127)) + size.to_bytes(8, "big")
    return header + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the event loop brings about by itself."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - it is seen from outside only
            await asyncio.sleep(0.005)
