"""The JSON Schema of every frame, from the types in posthouse.protocol.frames.

The types say which fields there are; what else the protocol promises of their values is added here, once for all
integers and by name where a field has a limit of its own.
"""

from typing import Any, get_args

import msgspec

from posthouse.model import ids
from posthouse.model.content import CLIENT_ID_BYTES_MAX, MENTIONS_MAX
from posthouse.protocol import SUBPROTOCOL, frames

Schema = dict[str, Any]

TITLE = f"Frames of {SUBPROTOCOL}"
RAW_FIELDS = {"body", "properties"}
ID_FIELDS = {"conv", "user", "device", "client_id"}
"""Fields that hold an id or name; the length is in characters here, and in bytes of UTF-8 in the rules."""
LIMITS: dict[tuple[str, str], Schema] = {
    ("Hello", "heartbeat_s"): {"minimum": 1, "maximum": 300},
    ("Hello", "sdk"): {"maxLength": 100},
    ("Resume", "positions"): {"maxProperties": frames.POSITIONS_MAX},
    ("Send", "made_at"): {"minimum": 1},
    ("Send", "client_id"): {"maxLength": CLIENT_ID_BYTES_MAX},
    ("Send", "kind"): {"pattern": r"^(message|x\..*)$", "maxLength": 64},
    ("Send", "mentions"): {"maxItems": MENTIONS_MAX, "items": {"type": "string", "minLength": 1}},
    ("Fetch", "limit"): {"minimum": 1, "maximum": frames.FETCH_LIMIT_MAX},
    ("List", "limit"): {"minimum": 1, "maximum": frames.LIST_LIMIT_MAX},
    ("SetCursors", "cursors"): {"maxItems": frames.CURSORS_MAX},
    ("Entry", "seq"): {"minimum": 1},
    ("Ack", "seq"): {"minimum": 1},
}


def frame_types(side: Any) -> tuple[type[msgspec.Struct], ...]:
    """The types of a union such as `ClientFrame`."""
    return get_args(side)


def document() -> Schema:
    """The schema. `#/$defs/client_frame` and `#/$defs/server_frame` are the two sides; the root takes both."""
    sides = {"client_frame": frames.ClientFrame, "server_frame": frames.ServerFrame}
    types = [each for side in sides.values() for each in frame_types(side)]
    _, parts = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for name, part in parts.items():
        _complete(name, part)
    unions = {name: {"oneOf": _references(frame_types(side))} for name, side in sides.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "description": "Generated from the types by spec/generate.py; do not edit. Unknown fields are allowed.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in unions],
        "$defs": unions | dict(sorted(parts.items())),
    }


def _references(types: tuple[type[msgspec.Struct], ...]) -> list[Schema]:
    return [{"$ref": f"#/$defs/{each.__name__}"} for each in types]


def _complete(name: str, part: Schema) -> None:
    """Add to one type's schema what its Python type cannot say."""
    for field, schema in part.get("properties", {}).items():
        if field in RAW_FIELDS:
            schema["type"] = "object"
        elif field in ID_FIELDS and schema.get("type") == "string" and "default" not in schema:
            schema |= {"minLength": 1, "maxLength": ids.ID_BYTES_MAX + len(ids.ACCOUNT_PREFIX)}
        for integer in (schema, schema.get("additionalProperties"), *schema.get("anyOf", ())):
            if isinstance(integer, dict) and integer.get("type") == "integer":
                integer |= {"minimum": 0, "maximum": ids.INTEGER_MAX}
        schema |= LIMITS.get((name, field), {})
