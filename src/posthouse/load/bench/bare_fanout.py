"""The raw limit of fan-out: a loop that writes ready frames one by one to sockets, and does nothing else.

It lets in the benchmark's own clients, with ready answers, so that both servers have the same client side. Nothing is
checked, stored, limited or kept in order. Runs in a worker of its own.
"""

import asyncio
from typing import cast

import msgspec

from posthouse.gateway.upgrade import negotiate, parse, switching
from posthouse.gateway.wire import Reader, encode_frame
from posthouse.kit.clock import SystemClock
from posthouse.load.bench.stamp import stamped
from posthouse.model.conversation import Kind, Role
from posthouse.model.entry import MESSAGE, Entry
from posthouse.protocol import SUBPROTOCOL
from posthouse.protocol.codec import decode_client, encode
from posthouse.protocol.frames import (
    Conversations,
    Done,
    Hello,
    Limits,
    List,
    Ping,
    Pong,
    Push,
    SetCursors,
    Summary,
    Welcome,
)
from posthouse.testing.ports import free_ports

HEAD_END = b"\r\n\r\n"
MESSAGE_BYTES_MAX = 1 << 20
FRAGMENTS_MAX = 16
LIMITS = Limits(
    frame_bytes_max=MESSAGE_BYTES_MAX, body_bytes_max=32_768, in_flight_max=256, repeat_window_s=1
)


class BareFanout:
    """The worker's subject: one group with everybody in it."""

    def __init__(self) -> None:
        self.conv = ""
        self.sockets: list[asyncio.Transport] = []
        self._clock = SystemClock()
        self._seq = 0

    async def close(self) -> None:
        """Drop everybody."""
        for transport in self.sockets:
            transport.abort()

    async def listen(self, conv: str) -> int:
        """Start; returns the port."""
        self.conv = conv
        port = next(free_ports())
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: _Bare(self), "127.0.0.1", port, backlog=4096)
        return port

    async def send(self, messages: int, per_s: float, sender: str) -> int:
        """Write so many messages to every socket, evenly spread; returns to how many sockets."""
        begun = self._clock.monotonic()
        for number in range(messages):
            await self._clock.sleep(begun + number / per_s - self._clock.monotonic())
            self._seq += 1
            frame = encode_frame(encode(Push(entry=self._entry(sender)))).plain
            for transport in self.sockets:
                transport.write(frame)
        return len(self.sockets)

    def _entry(self, sender: str) -> Entry:
        """An entry like those of the real server, of the same size."""
        return Entry(
            conv=self.conv,
            seq=self._seq,
            kind=MESSAGE,
            at_ms=self._clock.now_ms(),
            ordinal=self._seq,
            body=msgspec.Raw(msgspec.json.encode(stamped(self._clock.monotonic()))),
            sender=sender,
            device="bench",
            client_id=f"0123456789abcdef-{self._seq:x}",
        )


class _Bare(asyncio.Protocol):
    """One socket: an upgrade, a welcome, ready answers."""

    def __init__(self, bare: BareFanout) -> None:
        self._bare = bare
        self._head = b""
        self._reader: Reader | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if self._reader is not None:
            self._read(self._reader, data)
            return
        self._head += data
        if self._head.endswith(HEAD_END):
            request = parse(self._head.removesuffix(HEAD_END))
            self._transport.write(switching(negotiate(request, SUBPROTOCOL, ("*",))))
            self._reader = Reader(MESSAGE_BYTES_MAX, FRAGMENTS_MAX, inflates=False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport in self._bare.sockets:
            self._bare.sockets.remove(self._transport)

    def _read(self, reader: Reader, data: bytes) -> None:
        reader.feed(data)
        while (event := reader.next_event()) is not None:
            match decode_client(event[1]) if event[1].startswith(b"{") else None:
                case Hello() as hello:
                    self._bare.sockets.append(self._transport)
                    self._write(_welcome(hello))
                case List() as asked:
                    self._write(_conversations(asked, self._bare.conv))
                case SetCursors() as cursors:
                    self._write(Done(ref=cursors.ref))
                case Ping():
                    self._write(Pong())

    def _write(self, frame: Welcome | Conversations | Done | Pong) -> None:
        self._transport.write(encode_frame(encode(frame)).plain)


def _welcome(hello: Hello) -> Welcome:
    return Welcome(
        session="bare",
        user=hello.device,  # the benchmark names each device after its user
        device=hello.device,
        node="bare",
        at_ms=0,
        epoch="bare",
        resume_token="",
        heartbeat_s=hello.heartbeat_s,
        account_head=0,
        limits=LIMITS,
    )


def _conversations(asked: List, conv: str) -> Conversations:
    summary = Summary(conv=conv, kind=Kind.GROUP, role=Role.MEMBER, head=0, first_seq=1, joined_seq=1)
    return Conversations(ref=asked.ref, items=(summary,))
