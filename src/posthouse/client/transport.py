"""One WebSocket of a client, on picows: the only module that knows it. No task of its own; callbacks on the loop.

Calls `receiver.received` for each message and `receiver.lost` exactly once, unless it was ended from this side before.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from picows.common import WSHandshakeError

from posthouse.kit.chance import system_random
from posthouse.kit.malformed import MALFORMED
from posthouse.kit.tasks import start
from posthouse.protocol import SUBPROTOCOL

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Longer messages end the connection: no server of ours sends them."""
READ_BUFFER_BYTES = 2048
CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
RETRY_AFTER_MS_MAX = 3_600_000
"""Nobody who stands in front of a node keeps a client away for longer."""
_FOR_NOW = (408, 429)

_random_bits = system_random().getrandbits
"""For masks, which nobody may predict (RFC 6455, 5.3) and nothing else depends on."""

_CONTINUATION, _TEXT, _CLOSE = WSMsgType.CONTINUATION, WSMsgType.TEXT, WSMsgType.CLOSE
_engine_log = logging.Logger("picows", logging.WARNING)  # noqa: LOG001 - quiet, and one for all sockets
_engine_log.parent = logging.root


class ConnectFailed(Exception):
    """No WebSocket came about; the text says why. `retry_after_ms`: the server's wish, or 0. `status`: what HTTP
    answered instead, or 0."""

    def __init__(self, reason: str, retry_after_ms: int = 0, status: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_ms = retry_after_ms
        self.status = status

    @property
    def final(self) -> bool:
        """True when asking again would be answered in the same way."""
        return 400 <= self.status < 500 and self.status not in _FOR_NOW


class _Refusal(msgspec.Struct):
    """What a refused upgrade says, as JSON."""

    reason: str = ""
    retry_after_ms: int = 0


class Receiver(Protocol):
    """Who hears what a socket brings."""

    def received(self, message: bytes) -> None:
        """A whole text message."""
        ...

    def lost(self, transport: "Transport", code: int, reason: str) -> None:
        """The socket is gone. `code`: as in the close frame, or 0."""
        ...


class Ending(NamedTuple):
    """What a close frame said."""

    code: int = 0
    reason: str = ""


class _Attempt:
    """Whether anybody still wants the WebSocket that is being opened: picows goes on when its caller is cancelled."""

    __slots__ = ("given_up",)

    def __init__(self) -> None:
        self.given_up = False


class Transport(WSListener):
    """An open WebSocket."""

    __slots__ = ("_attempt", "_ending", "_fragments", "_fragments_bytes", "_receiver", "_socket")

    def __init__(self, receiver: Receiver, attempt: _Attempt) -> None:
        self._attempt = attempt
        self._receiver: Receiver | None = receiver
        self._socket: Any = None
        self._fragments: list[bytes] | None = None
        self._fragments_bytes = 0
        self._ending = Ending()

    @property
    def gone(self) -> bool:
        """True when the socket was lost, or closed by us."""
        return self._receiver is None

    def send(self, messages: Sequence[bytes]) -> None:
        """Write messages, several in one write; those to a socket that is gone are dropped."""
        socket = self._socket
        if len(messages) == 1:
            socket.send(_TEXT, messages[0])
        elif not (socket.is_disconnected or socket.is_close_frame_sent):
            keys = _random_bits(32 * len(messages)).to_bytes(4 * len(messages), "big")
            frames = [_frame(message, keys[4 * at : 4 * at + 4]) for at, message in enumerate(messages)]
            socket.underlying_transport.write(b"".join(frames))

    def close(self) -> None:
        """End the connection politely; nothing is heard of it any more."""
        self._end(WSCloseCode.OK)

    def reject(self) -> None:
        """End a connection whose other end broke the protocol; nothing is heard of it any more."""
        self._end(WSCloseCode.PROTOCOL_ERROR)

    def _end(self, code: WSCloseCode) -> None:
        """What is still to be written has a moment to go out."""
        self._receiver = None
        self._socket.send_close(code)
        self._socket.disconnect()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._socket.disconnect, False)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._receiver = None
        self._socket.disconnect(False)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._socket = transport
        if self._attempt.given_up:
            self.abort()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came."""
        kind = frame.msg_type
        if kind == _TEXT and frame.fin and self._fragments is None:
            if self._receiver is not None:
                self._receiver.received(frame.get_payload_as_bytes())
        elif kind in (_TEXT, _CONTINUATION):
            self._join(frame)
        elif kind == _CLOSE:
            self._ending = Ending(_number(frame.get_close_code()), frame.get_close_reason() or "")
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(self, *self._ending)

    def _join(self, frame: WSFrame) -> None:
        """Put a message together that came in fragments."""
        fragments = self._fragments = self._fragments or []
        fragments.append(frame.get_payload_as_bytes())
        self._fragments_bytes += frame.payload_size
        if self._fragments_bytes > MESSAGE_BYTES_MAX:
            self._ending = Ending(0, "the server sent a message that is too long")
            self._socket.disconnect(False)
        elif frame.fin:
            self._fragments, self._fragments_bytes = None, 0
            if self._receiver is not None:
                self._receiver.received(b"".join(fragments))


async def connect(url: str, receiver: Receiver, tls: ssl.SSLContext | None) -> Transport:
    """Open a WebSocket that speaks our subprotocol; raises `ConnectFailed`. Cancelled, it leaves nothing behind."""
    attempt = _Attempt()
    opening = start(_open(url, receiver, tls, attempt))
    try:
        await asyncio.wait([opening], timeout=CONNECT_TIMEOUT_S)
    except asyncio.CancelledError:
        _give_up(attempt, opening)  # also when it has ended in this very moment
        raise
    if not opening.done():
        _give_up(attempt, opening)
        raise ConnectFailed(f"{url} did not answer within {CONNECT_TIMEOUT_S:g} s")
    return opening.result()


def _give_up(attempt: _Attempt, opening: asyncio.Task[Transport]) -> None:
    """Let an attempt end by itself, and drop what comes of it.

    While picows waits for the handshake it must not be cancelled: its time limit would raise where nobody listens.
    """
    attempt.given_up = True
    opening.add_done_callback(_drop)
    asyncio.get_running_loop().call_later(CONNECT_TIMEOUT_S + 1.0, opening.cancel)


def _drop(opening: asyncio.Task[Transport]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abort()


async def _open(url: str, receiver: Receiver, tls: ssl.SSLContext | None, attempt: _Attempt) -> Transport:
    try:
        socket, listener = await ws_connect(
            lambda: Transport(receiver, attempt),
            url,
            ssl_context=tls,
            extra_headers=(("Sec-WebSocket-Protocol", SUBPROTOCOL),),
            websocket_handshake_timeout=CONNECT_TIMEOUT_S,
            max_frame_size=MESSAGE_BYTES_MAX,
            read_buffer_init_size=READ_BUFFER_BYTES,
            use_aiofastnet=False,
            max_redirects=0,
            logger_name=logging.LoggerAdapter(_engine_log),
        )
    except WSHandshakeError as error:
        raise _refused(url, error) from None
    except TimeoutError:
        raise ConnectFailed(f"{url} did not answer within {CONNECT_TIMEOUT_S:g} s") from None
    except (OSError, WSError, ValueError) as error:
        raise ConnectFailed(f"cannot connect to {url}: {error}") from None
    if not isinstance(listener, Transport) or socket.is_disconnected:
        raise ConnectFailed(f"{url} hung up while the WebSocket was being opened")
    if socket.response.headers.get("Sec-WebSocket-Protocol") != SUBPROTOCOL:
        listener.abort()
        raise ConnectFailed(f"{url} does not speak {SUBPROTOCOL}: is it a Posthouse server?")
    return listener


def _frame(message: bytes, key: bytes) -> bytes:
    """A whole text message as a client's frame. picows writes each of its own frames at once, by a call of its own."""
    size = len(message)
    if size < 126:
        header = bytes((0x81, 0x80 | size))
    elif size < 1 << 16:
        header = b"\x81\xfe" + size.to_bytes(2, "big")
    else:
        header = b"\x81\xff" + size.to_bytes(8, "big")
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return header + key + (int.from_bytes(message, "little") ^ mask).to_bytes(size, "little")


def _number(code: Any) -> int:
    """picows' stubs call it an Enum; it is an int, also for codes that have no name."""
    return int(code)


def _refused(url: str, error: WSHandshakeError) -> ConnectFailed:
    response = error.response
    if response is None:
        return ConnectFailed(f"{url} does not speak WebSocket: {error}")
    wait = response.headers.get("Retry-After", "")
    after_s = int(wait) if wait.isascii() and wait.isdigit() else 0
    status, said = int(response.status), _said(bytes(error.raw_body or b""))
    text = f"{url} refused the connection: {status} {said.reason}".rstrip()
    retry_after_ms = min(said.retry_after_ms or 1000 * after_s, RETRY_AFTER_MS_MAX)
    return ConnectFailed(text, retry_after_ms, status)


def _said(body: bytes) -> _Refusal:
    """The server's words, or whatever stands in front of it has answered."""
    try:
        said = msgspec.json.decode(body, type=_Refusal)
    except MALFORMED:
        said = _Refusal(body.decode(errors="replace"))
    return _Refusal(said.reason[:200], max(0, said.retry_after_ms))
