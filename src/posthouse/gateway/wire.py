"""The wire format of WebSocket (RFC 6455), sans-I/O: frames out as bytes, bytes in as whole messages. Pure.

An idle `Reader` holds no buffer; inside a message it holds at most `message_bytes_max` and one read. Unmasking is one
XOR of two integers, so a chat message costs in plain Python what it costs with the parsers written in C.
"""

from typing import NoReturn

from posthouse.gateway.deflate import BadDeflate, InflatesTooLarge, deflate, inflate

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL, DEFLATED, OPCODE, CONTROL = 0x80, 0x40, 0x0F, 0x08
DEFLATE_BYTES_MIN = 256
REASON_BYTES_MAX = 123
CONTROL_BYTES_MAX = 125

PROTOCOL_ERROR, UNSUPPORTED_DATA, NO_CODE, ABNORMAL = 1002, 1003, 1005, 1006
INVALID_DATA, POLICY_VIOLATION, TOO_LARGE = 1007, 1008, 1009

_PLAIN_STARTS = frozenset(
    (
        CONTINUATION,
        TEXT,
        BINARY,
        FINAL,
        FINAL | TEXT,
        FINAL | BINARY,
        FINAL | CLOSE,
        FINAL | PING,
        FINAL | PONG,
    )
)
_STARTS = _PLAIN_STARTS | {
    DEFLATED | TEXT,
    DEFLATED | BINARY,
    FINAL | DEFLATED | TEXT,
    FINAL | DEFLATED | BINARY,
}
"""Every first byte a frame may have, without and with compression; reserved bits and opcodes are not among them."""


class Violation(Exception):
    """The client broke a rule or a limit: the WebSocket closes with `code`; `counter` names the statistic."""

    def __init__(self, code: int, counter: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.counter = counter
        self.reason = reason


class Frame:
    """An outgoing message, encoded once and written to many sockets."""

    __slots__ = ("_deflated", "_header_bytes", "plain")

    def __init__(self, message: bytes) -> None:
        header = _header(FINAL | TEXT, len(message))
        self.plain = header + message
        self._header_bytes = len(header)
        self._deflated: bytes | None = None

    @property
    def deflated(self) -> bytes:
        """The same message compressed, for sockets that agreed to it; the plain frame where that is no smaller."""
        if self._deflated is None:
            self._deflated = self._deflate()
        return self._deflated

    @property
    def message(self) -> bytes:
        """The message without its header."""
        return self.plain[self._header_bytes :]

    def _deflate(self) -> bytes:
        message = self.message
        payload = deflate(message) if len(message) >= DEFLATE_BYTES_MIN else message
        if len(payload) >= len(message):
            return self.plain
        return _header(FINAL | DEFLATED | TEXT, len(payload)) + payload


def encode_frame(message: bytes) -> Frame:
    """A text message, which must be UTF-8, as a frame for any number of sockets."""
    return Frame(message)


def control_frame(opcode: int, payload: bytes) -> bytes:
    """A ping, pong or close; the payload has at most 125 bytes."""
    return _header(FINAL | opcode, len(payload)) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close; the reason is cut to what fits. `NO_CODE` makes the empty close that answers an empty close."""
    if code == NO_CODE:
        return control_frame(CLOSE, b"")
    words = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
    return control_frame(CLOSE, code.to_bytes(2, "big") + words)


def close_code(payload: bytes) -> int:
    """The code of a close frame that a `Reader` has let through."""
    return int.from_bytes(payload[:2], "big") if payload else NO_CODE


class Reader:
    """Takes bytes as they come from one client and gives whole messages and control frames."""

    __slots__ = (
        "_at",
        "_data",
        "_deflated",
        "_fragments",
        "_fragments_max",
        "_held_bytes",
        "_message_bytes_max",
        "_starts",
    )

    def __init__(self, message_bytes_max: int, fragments_max: int, inflates: bool) -> None:
        self._message_bytes_max = message_bytes_max
        self._fragments_max = fragments_max
        self._starts = _STARTS if inflates else _PLAIN_STARTS
        self._data: bytes | bytearray = b""
        self._at = 0
        self._fragments: list[bytes] | None = None
        self._held_bytes = 0
        self._deflated = False

    def feed(self, data: bytes) -> None:
        """Take what came. Then call `next_event` until it returns None."""
        if self._data:
            self._data += data
        else:
            self._data = data

    def next_event(self) -> tuple[int, bytes] | None:
        """The next event as (opcode, payload): a whole `TEXT` message in UTF-8, `PING`, `PONG`, or a valid `CLOSE`.

        None: more must be fed. Raises `Violation`; after that, and after a `CLOSE`, the reader must not be used.
        """
        while (frame := self._next_frame()) is not None:
            start, payload = frame
            if start & CONTROL:
                if start == FINAL | CLOSE:
                    _check_close(payload)
                return start & OPCODE, payload
            message = self._join(start, payload)
            if message is not None:
                return TEXT, message
        self._keep()
        return None

    def _next_frame(self) -> tuple[int, bytes] | None:
        """The next complete frame as (first byte, unmasked payload), or None."""
        data, at = self._data, self._at
        if len(data) < at + 2:
            return None
        start, size = data[at], data[at + 1] & 0x7F
        if start not in self._starts or data[at + 1] < 0x80:
            _refuse_start(start, masked=data[at + 1] >= 0x80)
        key_at = at + 2
        if size > CONTROL_BYTES_MAX:
            if start & CONTROL:
                _break("a control frame is longer than 125 bytes")
            key_at += 2 if size == 126 else 8
            if len(data) < key_at:
                return None
            size = _long_size(data[at + 2 : key_at])
        if not start & CONTROL and size > self._message_bytes_max - self._held_bytes:
            self._refuse_size()
        end = key_at + 4 + size
        if len(data) < end:
            return None
        self._at = end
        return start, _unmask(data[key_at : key_at + 4], data[key_at + 4 : end])

    def _keep(self) -> None:
        """Hold the beginning of an unfinished frame, and nothing when there is none."""
        if self._at == len(self._data):
            self._data = b""
        elif self._at or isinstance(self._data, bytes):
            self._data = bytearray(self._data[self._at :])
        self._at = 0

    def _join(self, start: int, payload: bytes) -> bytes | None:
        """The message that this data frame completes, or None."""
        if start & OPCODE == BINARY:
            raise Violation(UNSUPPORTED_DATA, "binary_messages", "messages are text")
        if self._fragments is None:
            if start & OPCODE == CONTINUATION:
                _break("a continuation of no message")
            if start == FINAL | TEXT:
                return self._check_text(payload)
            self._fragments = []
            self._deflated = bool(start & DEFLATED)
        elif start & OPCODE != CONTINUATION:
            _break("a new message before the end of the last one")
        self._hold(payload)
        return self._finish() if start & FINAL else None

    def _hold(self, payload: bytes) -> None:
        assert self._fragments is not None
        self._fragments.append(payload)
        self._held_bytes += len(payload)
        if len(self._fragments) > self._fragments_max:
            raise Violation(TOO_LARGE, "messages_too_large", f"more than {self._fragments_max} fragments")

    def _finish(self) -> bytes:
        assert self._fragments is not None
        message = b"".join(self._fragments)
        self._fragments, self._held_bytes = None, 0
        return self._check_text(self._inflate(message) if self._deflated else message)

    def _inflate(self, payload: bytes) -> bytes:
        try:
            return inflate(payload, self._message_bytes_max)
        except InflatesTooLarge:
            self._refuse_size()
        except BadDeflate:
            raise Violation(INVALID_DATA, "invalid_data", "a compressed message is damaged") from None

    def _check_text(self, message: bytes) -> bytes:
        if not message.isascii():
            try:
                message.decode()
            except UnicodeDecodeError:
                raise Violation(INVALID_DATA, "invalid_data", "a message is not UTF-8") from None
        return message

    def _refuse_size(self) -> NoReturn:
        reason = f"a message is longer than {self._message_bytes_max} bytes"
        raise Violation(TOO_LARGE, "messages_too_large", reason)


def _header(start: int, size: int) -> bytes:
    if size <= CONTROL_BYTES_MAX:
        return bytes((start, size))
    if size < 1 << 16:
        return bytes((start, 126)) + size.to_bytes(2, "big")
    return bytes((start, 127)) + size.to_bytes(8, "big")


def _long_size(encoded: bytes | bytearray) -> int:
    size = int.from_bytes(encoded, "big")
    shortest = 126 if len(encoded) == 2 else 1 << 16
    if not shortest <= size < 1 << 63:
        _break("a payload length is not in its shortest form")
    return size


def _unmask(key: bytes | bytearray, masked: bytes | bytearray) -> bytes:
    size = len(masked)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(masked, "little") ^ mask).to_bytes(size, "little")


def _check_close(payload: bytes) -> None:
    if not payload:
        return
    code = close_code(payload)
    known = 1000 <= code <= 1014 and code not in (1004, NO_CODE, ABNORMAL)
    if not (
        known or 3000 <= code <= 4999
    ):  # half a code, from a payload of one byte, is none of these either
        _break("an invalid close code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(INVALID_DATA, "invalid_data", "a close reason is not UTF-8") from None


def _refuse_start(start: int, *, masked: bool) -> NoReturn:
    if not masked:
        _break("a frame from a client is not masked")
    if start & 0x70:
        _break("a reserved bit is set")
    _break("an unknown opcode or a fragmented control frame")


def _break(reason: str) -> NoReturn:
    raise Violation(PROTOCOL_ERROR, "protocol_violations", reason)
