"""What a body may be: one JSON object within limits of size and depth, free of what databases refuse. Pure."""

import msgspec

from posthouse.model.errors import InvalidContent

BODY_BYTES_MAX = 32 * 1024
BODY_DEPTH_MAX = 16
MENTIONS_MAX = 50
CLIENT_ID_BYTES_MAX = 64
TEXT_KEY = "text"

_decode = msgspec.json.Decoder(dict[str, object]).decode


def check_body(body: bytes | msgspec.Raw) -> None:
    """Raise `InvalidContent` unless `body` is a JSON object that every engine can keep and every client can read."""
    raw = bytes(body)
    if len(raw) > BODY_BYTES_MAX:
        raise InvalidContent(f"the body has {len(raw)} bytes; at most {BODY_BYTES_MAX} are allowed")
    try:
        _check(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidContent(f"the body is not a JSON object: {error}") from None
    except RecursionError:
        raise InvalidContent(f"the body is nested deeper than {BODY_DEPTH_MAX} levels") from None


def _check(raw: bytes) -> None:
    value = _decode(raw)
    if raw.count(b"{") + raw.count(b"[") > BODY_DEPTH_MAX and _depth(value) > BODY_DEPTH_MAX:
        raise InvalidContent(f"the body is nested deeper than {BODY_DEPTH_MAX} levels")
    if b"\\u0000" in raw and _has_nul(value):
        raise InvalidContent("the body contains the character U+0000, which no text may contain")


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)


def _depth(value: object) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max((_depth(item) for item in items), default=0)
