"""One client's WebSocket: an asyncio protocol over a `wire.Reader`, without task, timer or, while idle, buffer.

`send` is the hot path of fan-out: one call of the transport's `write`, which joins what one turn of the event loop
sends into one system call. A closed socket swallows sends, so nobody asks first.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from posthouse.gateway.connections import Connections
from posthouse.gateway.wire import (
    ABNORMAL,
    CLOSE,
    PING,
    POLICY_VIOLATION,
    PONG,
    TEXT,
    Frame,
    Reader,
    Violation,
    close_code,
    close_frame,
    control_frame,
    encode_frame,
)

__all__ = ["Frame", "Socket", "SocketHandler", "encode_frame"]


class SocketHandler(Protocol):
    """Who a socket belongs to. It is called in the event loop and must not block.

    An error that it raises goes to the loop's exception handler and aborts the connection; the client resumes.
    """

    def received(self, message: bytes) -> None:
        """One whole text message in valid UTF-8; never after `close` or the peer's close."""

    def overflowed(self) -> None:
        """More than `outbox_bytes_max` waits to be written: the client reads too slowly. It is still open.

        Called from inside `send`, so whoever walks a set of sockets must not change that set here.
        """

    def closed(self, code: int) -> None:
        """It is gone. Called once; `code` is that of the first close, by either end, or 1006 if there was none."""


class Socket(asyncio.Protocol):
    """An open WebSocket. `peer` is the client's network address."""

    __slots__ = (
        "_code",
        "_connections",
        "_control_count",
        "_control_second",
        "_deaf",
        "_deflates",
        "_reader",
        "_transport",
        "_write",
        "handler",
        "peer",
    )
    handler: SocketHandler
    _write: Callable[[bytes], None]

    def __init__(self, transport: asyncio.Transport, connections: Connections, *, deflates: bool) -> None:
        limits = connections.limits
        self.peer: str = (transport.get_extra_info("peername") or ("",))[0]
        self._transport = transport
        self._write = _not_open
        self._connections = connections
        self._deflates = deflates
        self._reader = Reader(limits.message_bytes_max, limits.fragments_max, deflates)
        self._code = 0  # of the first close frame; 0 while the socket is open
        self._deaf = False  # what still comes from the peer no longer matters
        self._control_second = 0
        self._control_count = 0

    def send(self, frame: Frame) -> None:
        """Queue a message and return at once; after `close`, do nothing."""
        self._write(frame.deflated if self._deflates else frame.plain)

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake; if the peer does not answer in time, abort. The first close counts."""
        if not self._code:
            self._code = code
            self._write(close_frame(code, reason))
            self._write = _discard
            self._connections.expect_end(self)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._code = self._code or ABNORMAL
        self._write = _discard
        self._deaf = True
        self._transport.abort()

    @property
    def buffered_bytes(self) -> int:
        """What waits to be written, outside the kernel."""
        return self._transport.get_write_buffer_size()

    # What the listener calls ------------------------------------------------------------------------------------

    def opened(self, handler: SocketHandler) -> None:
        self.handler = handler
        self._write = self._transport.write
        self._transport.set_write_buffer_limits(high=self._connections.limits.outbox_bytes_max)
        self._transport.set_protocol(self)
        self._connections.add(self)
        self._connections.count("sockets_opened")

    def shut(self, code: int, reason: str) -> None:
        self.close(code, reason)

    def expire(self) -> None:
        self._connections.count("close_timeouts")
        self.abort()

    # What the event loop calls ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self._deaf:
            self._reader.feed(data)
        while (event := self._next_event()) is not None:
            opcode, payload = event
            if opcode != TEXT:
                self._control(opcode, payload)
            elif not self._code:
                self.handler.received(payload)

    def eof_received(self) -> None:
        """The peer has stopped sending; the transport closes once it has written what waits, if that ends in time."""
        self._end()

    def pause_writing(self) -> None:
        if not self._code:
            self._connections.count("overflows")
            self.handler.overflowed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._write = _discard
        self._deaf = True
        self._connections.remove(self, exc)
        self.handler.closed(self._code or ABNORMAL)
        del self.handler  # they hold each other: thousands would wait for the garbage collector

    # Inside -----------------------------------------------------------------------------------------------------

    def _next_event(self) -> tuple[int, bytes] | None:
        if self._deaf:
            return None
        try:
            return self._reader.next_event()
        except Violation as violation:
            self._fail(violation)
            return None

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self.close(close_code(payload))
            self._end()
            self._transport.close()
        elif self._floods():
            self._fail(Violation(POLICY_VIOLATION, "control_floods", "too many control frames"))
        elif opcode == PING:
            self._write(control_frame(PONG, payload))

    def _floods(self) -> bool:
        second = int(self._connections.clock.monotonic())
        if second != self._control_second:
            self._control_second, self._control_count = second, 0
        self._control_count += 1
        return self._control_count > self._connections.limits.control_frames_per_s_max

    def _fail(self, violation: Violation) -> None:
        """Close, and hear no more. Closing for writing only leaves the peer time to read why (RFC 6455, 7.1.7)."""
        self._connections.count(violation.counter)
        self.close(violation.code, violation.reason)
        self._end()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _end(self) -> None:
        self._code = self._code or ABNORMAL
        self._write = _discard
        self._deaf = True
        self._connections.expect_end(self)


def _not_open(_data: bytes) -> None:
    """Where a socket writes to whose opening is not yet accepted: the client expects an HTTP response now."""
    raise RuntimeError("a socket can send once its handler has been accepted")


def _discard(_data: bytes) -> None:
    """Where a closed socket writes to."""
