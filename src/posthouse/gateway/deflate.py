"""permessage-deflate (RFC 7692) without context takeover, so that no connection keeps a compressor. Pure.

A shared outgoing message is compressed once; an incoming one never inflates past its limit.
"""

import re
import zlib

LEVEL = 4
WINDOW_BITS = 13
MEMORY_LEVEL = 6
"""An eighth of zlib's usual working memory: setting that up would cost more than compressing a chat message."""

_TAIL = b"\x00\x00\xff\xff"
_FLAGS = {"server_no_context_takeover", "client_no_context_takeover"}
_WINDOWS = {"server_max_window_bits", "client_max_window_bits"}
_BITS = re.compile(r"8|9|1[0-5]")


class BadDeflate(ValueError):
    """Bytes that are no deflate stream."""


class InflatesTooLarge(ValueError):
    """The message is larger than allowed once inflated; it was not inflated further than that."""


def deflate(message: bytes) -> bytes:
    """The payload of a compressed message (RFC 7692, 7.2.1)."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEMORY_LEVEL)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def inflate(payload: bytes, bytes_max: int) -> bytes:
    """The message of a compressed payload; raises `BadDeflate`, or `InflatesTooLarge` past `bytes_max`."""
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        message = decompressor.decompress(payload + _TAIL, bytes_max + 1)
    except zlib.error as error:
        raise BadDeflate(str(error)) from None
    if len(message) > bytes_max:
        raise InflatesTooLarge
    return message


def negotiate(offers: str) -> str | None:
    """The answer to a `Sec-WebSocket-Extensions` header: the first offer we can keep to, or None for no compression."""
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name == "permessage-deflate" and (window := _window_bits(parameters)) is not None:
            window_answer = f"; server_max_window_bits={window}" if window else ""
            return f"{name}; server_no_context_takeover; client_no_context_takeover{window_answer}"
    return None


def _window_bits(parameters: list[str]) -> int | None:
    """The window that the offer asks of the server, 0 if it asks for none, None if it cannot be accepted."""
    asked: dict[str, str] = {}
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        if name in asked or not _is_valid(name, bool(equals), value.strip('"')):
            return None
        asked[name] = value.strip('"')
    window = int(asked.get("server_max_window_bits", 0))
    return window if not window or window >= WINDOW_BITS else None


def _is_valid(name: str, has_value: bool, value: str) -> bool:
    if name in _FLAGS:
        return not has_value
    may_lack_value = name == "client_max_window_bits"
    return name in _WINDOWS and (bool(_BITS.fullmatch(value)) if has_value else may_lack_value)
