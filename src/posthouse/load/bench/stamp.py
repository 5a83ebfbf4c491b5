"""Message bodies of 200 bytes that say when they were sent, on the machine's monotonic clock. Pure."""

from typing import Any, Final

import msgspec

BODY_BYTES: Final = 200
FILLER: Final = "x" * (BODY_BYTES - len('{"at_ns":123456789012345,"text":""}'))


class _Stamp(msgspec.Struct):
    at_ns: int


_decode = msgspec.json.Decoder(_Stamp).decode


def stamped(monotonic: float) -> dict[str, Any]:
    """A body sent at this moment, in seconds."""
    return {"at_ns": int(monotonic * 1e9), "text": FILLER}


def stamp_of(body: bytes | msgspec.Raw) -> float:
    """When a body was sent, in seconds."""
    return _decode(body).at_ns / 1e9
