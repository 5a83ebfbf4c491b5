"""One TCP port for WebSocket and HTTP: reads the head of each connection's first request and hands the connection on.

Runs in one event loop, without a task per connection. Everything that happens to a connection before it is handed on
is bounded in bytes and in time; one sweep keeps all deadlines.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from posthouse.gateway.acceptor import Acceptor
from posthouse.gateway.connections import Connections, SocketLimits
from posthouse.gateway.upgrade import (
    Refusal,
    Refused,
    UpgradeRequest,
    negotiate,
    parse,
    refusing,
    switching,
    target_path,
)
from posthouse.gateway.websocket import Socket, SocketHandler
from posthouse.kit.clock import Clock
from posthouse.kit.tasks import Tasks
from posthouse.protocol import SUBPROTOCOL

SOCKET_PATH = b"/v1/ws"
GOING_AWAY = 1001
_BACKLOG = 4096
_HEAD_END = b"\r\n\r\n"

Accept = Callable[[Socket, UpgradeRequest], SocketHandler | Refusal]
"""Decides on a well-formed request to open a WebSocket. The socket can send once this has returned."""


class Listener:
    """Serves WebSocket at `SOCKET_PATH` to handlers from `accept`, and everything else over protocols from `http`.

    `http` makes asyncio protocols, as an `aiohttp.web.Server` does; the timeouts of what it serves are its own.
    """

    def __init__(
        self,
        limits: SocketLimits,
        accept: Accept,
        http: Callable[[], asyncio.Protocol],
        *,
        clock: Clock,
        allowed_origins: Sequence[str] = ("*",),
    ) -> None:
        self.accept = accept
        self.http = http
        self.allowed_origins = tuple(allowed_origins)
        self.connections = Connections(limits, clock)
        self._tasks = Tasks(clock)
        self._acceptors: list[Acceptor] = []
        self.port = 0
        """The port listened on, from `start` on."""
        self.direct_port = 0
        """A second one that is this process's alone, if there is one."""

    async def start(
        self, host: str, port: int, tls: Callable[[], ssl.SSLContext] | None = None, *, direct_port: int = 0
    ) -> None:
        """Listen; port 0 takes a free one. Raises `OSError` when the address cannot be had.

        With a `direct_port` the other is shared with processes that do the same: the kernel spreads connections.
        `tls` is asked at each connection, so that a new certificate needs no new listener.
        """
        limits = self.connections.limits
        listening = [_listen(host, port, limits, shared=bool(direct_port))]
        self.port = listening[0].getsockname()[1]
        if direct_port:
            listening.append(_listen_too(host, direct_port, limits, beside=listening))
            self.direct_port = direct_port
        self._acceptors = [self._open(each, tls) for each in listening]
        self._tasks.supervise("listener's sweep", self.connections.sweep_forever)

    def leave_shared(self) -> None:
        """Take no more connections at the port that is shared with others, who get them instead."""
        if self.direct_port:
            self._acceptors[0].close()

    async def stop(self, code: int = GOING_AWAY, reason: str = "") -> None:
        """Stop listening, close every WebSocket with `code`, and return when no connection is left."""
        for acceptor in self._acceptors:
            acceptor.close()
        for acceptor in self._acceptors:
            await acceptor.wait_closed()
        for connection in tuple(self.connections.open):
            connection.shut(code, reason)
        await self.connections.wait_empty()
        await self._tasks.close()

    def statistics(self) -> dict[str, int]:
        """Counters since the start, and what is open now: `connections_open` of all kinds, `sockets_open` of them."""
        opened = self.connections.open
        sockets = sum(isinstance(connection, Socket) for connection in opened)
        return {
            **self.connections.counts,
            "connections_open": len(opened) + self.shaking,
            "sockets_open": sockets,
        }

    @property
    def shaking(self) -> int:
        """Connections that are not handed on yet, as those whose TLS handshake is under way."""
        return sum(acceptor.shaking for acceptor in self._acceptors)

    def _open(self, listening: socket.socket, tls: Callable[[], ssl.SSLContext] | None) -> Acceptor:
        limits = self.connections.limits
        acceptor = Acceptor(listening, lambda: _NewConnection(self), tls, limits.head_timeout_ms / 1000)
        if tls is None:
            most = limits.connections_max + limits.refusals_max
            acceptor.turn_away = self._turn_away
        else:  # a handshake is too dear to be only told afterwards that there is no room
            most = limits.connections_max
            acceptor.turn_away = lambda _: self.connections.count("connections_cut")
            acceptor.failed = lambda: self.connections.count("handshakes_failed")
        acceptor.may_enter = lambda: len(self.connections.open) + self.shaking < most
        acceptor.open()
        return acceptor

    def _turn_away(self, accepted: socket.socket) -> None:
        self.connections.count("connections_refused")
        with suppress(OSError):  # it has gone already
            accepted.send(refusing(_busy(self.connections.limits)))


class _NewConnection(asyncio.Protocol):
    """A connection until the head of its first request is read; after that a `Socket` takes over, or it wraps HTTP."""

    __slots__ = ("_head", "_http", "_listener", "_refused", "_transport")
    _transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._head = bytearray()
        self._http: asyncio.Protocol | None = None
        self._refused = False

    def shut(self, code: int, reason: str) -> None:
        if self._http is None:
            self._transport.abort()
        else:  # the application ends it, at the latest at the deadline
            self._listener.connections.expect_end(self)

    def expire(self) -> None:
        if self._http is None and not self._refused:
            self._refuse(Refusal(408, "the request's head did not come in time"), "head_timeouts")
        else:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        connections, limits = self._listener.connections, self._listener.connections.limits
        excess = len(connections.open) - limits.connections_max
        connections.add(self)
        if excess >= 0:
            self._refuse(_busy(limits), "connections_refused")
        else:
            connections.count("connections_accepted")
            connections.expect_head(self)

    def data_received(self, data: bytes) -> None:
        if self._http is not None:
            self._http.data_received(data)
        elif not self._refused:
            self._read_head(data)

    def eof_received(self) -> bool | None:
        return self._http.eof_received() if self._http is not None else None

    def pause_writing(self) -> None:
        if self._http is not None:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        if self._http is not None:
            self._http.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.remove(self, exc)
        if self._http is not None:
            self._http.connection_lost(exc)

    def _read_head(self, data: bytes) -> None:
        searched = max(0, len(self._head) - len(_HEAD_END) + 1)
        self._head += data
        end = self._head.find(_HEAD_END, searched)
        if max(end, 0) > self._head_bytes_max or (end < 0 and len(self._head) > self._head_bytes_max):
            self._refuse(Refusal(431, "the request's head is too large"), "heads_too_large")
        elif end >= 0:
            self._listener.connections.forget_deadline(self)
            self._hand_on(bytes(self._head), end)

    @property
    def _head_bytes_max(self) -> int:
        return self._listener.connections.limits.head_bytes_max

    def _hand_on(self, received: bytes, head_end: int) -> None:
        self._head = bytearray()
        if target_path(received) != SOCKET_PATH:
            self._serve_http(received)
            return
        try:
            self._open_socket(received[:head_end], received[head_end + len(_HEAD_END) :])
        except Refused as refused:
            self._refuse(refused.refusal, refused.counter)

    def _serve_http(self, received: bytes) -> None:
        self._listener.connections.count("http_connections")
        self._http = self._listener.http()
        self._http.connection_made(self._transport)
        self._http.data_received(received)

    def _open_socket(self, head: bytes, first_bytes: bytes) -> None:
        listener = self._listener
        request = parse(head)
        agreement = negotiate(request, SUBPROTOCOL, listener.allowed_origins)
        opening = Socket(self._transport, listener.connections, deflates=bool(agreement.extension))
        handler = listener.accept(opening, request)
        if isinstance(handler, Refusal):
            raise Refused(handler, "upgrades_refused")
        self._transport.write(switching(agreement))
        opening.opened(handler)
        listener.connections.remove(self)
        if first_bytes:
            opening.data_received(first_bytes)

    def _refuse(self, refusal: Refusal, counter: str) -> None:
        """Answer and close for writing, but leave the peer time to read the answer."""
        self._refused = True
        self._listener.connections.count(counter)
        self._transport.write(refusing(refusal))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
        self._listener.connections.expect_end(self)


def _busy(limits: SocketLimits) -> Refusal:
    return Refusal(503, "the node has all the connections it takes", limits.retry_after_ms)


def _listen_too(host: str, port: int, limits: SocketLimits, beside: list[socket.socket]) -> socket.socket:
    """A second listening socket. When it cannot be had, the first is let go of."""
    try:
        return _listen(host, port, limits)
    except OSError:
        beside[0].close()
        raise


def _listen(host: str, port: int, limits: SocketLimits, *, shared: bool = False) -> socket.socket:
    """A listening socket. Accepted ones inherit its options."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server(
        (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::", reuse_port=shared
    )
    if limits.kernel_outbox_bytes:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.kernel_outbox_bytes)
    if limits.kernel_inbox_bytes:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits.kernel_inbox_bytes)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.unread_timeout_ms)
    return listening
