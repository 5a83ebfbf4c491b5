"""Frames to bytes and back. Strict on what it accepts, and says what was wrong. Pure."""

import msgspec

from posthouse.kit.malformed import MALFORMED
from posthouse.protocol.frames import ClientFrame, Frame, ServerFrame

_encoder = msgspec.json.Encoder()
_client_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)
_server_decoder: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)

REASON_BYTES_MAX = 200


class BadFrame(ValueError):
    """Bytes that are no frame of the protocol; the message says why, without repeating what was sent."""


def encode(frame: Frame) -> bytes:
    """The frame's JSON."""
    return _encoder.encode(frame)


def decode_client(message: bytes) -> ClientFrame:
    """A frame that a client sent; raises `BadFrame`."""
    try:
        return _client_decoder.decode(message)
    except MALFORMED as error:
        raise BadFrame(_reason(error)) from None


def decode_server(message: bytes) -> ServerFrame | None:
    """A frame that a server sent, or None for a kind this client does not know; raises `BadFrame`."""
    try:
        return _server_decoder.decode(message)
    except MALFORMED as error:
        if str(error).startswith("Invalid value ") and "$.t" in str(error):
            return None
        raise BadFrame(_reason(error)) from None


def _reason(error: Exception) -> str:
    reason = str(error)
    if reason.startswith("Invalid value "):
        reason = "Unknown value" + reason[reason.rfind(" - at ") :]
    return reason.encode("ascii", "replace").decode()[:REASON_BYTES_MAX]
