"""How vectors write down bytes: as text, as base64 where they are no UTF-8, as repeated parts where they are long."""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

TEXT_CHARS_MAX = 2_000

Parts = list[tuple[str, int]]
Vector = dict[str, Any]

EXPLAINED = (
    "The bytes are `text` in UTF-8, or `base64` decoded, or `parts`: pairs of a text and how often it is repeated,"
    " joined."
)


def written(what: bytes | str | Parts) -> Vector:
    """The field that stands for these bytes."""
    if isinstance(what, list):
        return {"parts": [list(part) for part in what]}
    if isinstance(what, str):
        return {"text": what}
    try:
        text = what.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(what).decode()}
    assert len(text) <= TEXT_CHARS_MAX, "write long vectors as parts"
    return {"text": text}


def read(vector: Mapping[str, Any]) -> bytes:
    """The bytes that `written` has written down."""
    if "base64" in vector:
        return b64decode(vector["base64"])
    if "parts" in vector:
        return "".join(text * times for text, times in vector["parts"]).encode()
    return str(vector["text"]).encode()
