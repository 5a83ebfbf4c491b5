"""The JSON Schema says what the types say, as an independent validator sees it."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from posthouse.protocol.frames import ClientFrame, ServerFrame
from spec.generate import ROOT
from spec.schema import frame_types
from tests.spec import vectors

DOCUMENT: dict[str, Any] = json.loads((ROOT / "spec/schema.json").read_text("utf-8"))


def validator(part: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{part}", "$defs": DOCUMENT["$defs"]})


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(DOCUMENT)


@pytest.mark.parametrize(("side", "types"), [("client_frame", ClientFrame), ("server_frame", ServerFrame)])
def test_every_frame_of_a_side_is_in_the_schema(side: str, types: Any) -> None:
    named = [reference["$ref"].removeprefix("#/$defs/") for reference in DOCUMENT["$defs"][side]["oneOf"]]
    assert named == [frame.__name__ for frame in frame_types(types)]


@pytest.mark.parametrize(
    ("name", "values"),
    [("Kind", {"account", "channel", "direct", "group"}), ("Role", {"admin", "member", "owner", "reader"})],
)
def test_what_clients_take_no_other_values_of_gets_none(name: str, values: set[str]) -> None:
    """P-16.4."""
    assert set(DOCUMENT["$defs"][name]["enum"]) == values


def test_no_frame_after_welcome_carries_a_secret() -> None:
    """P-17.6."""
    secret = {
        frame.__name__
        for frame in frame_types(ServerFrame)
        if any("token" in field for field in frame.__struct_fields__)
    }
    assert secret == {"Welcome"}


@pytest.mark.parametrize("vector", vectors.of("frames", "frames", "from", "name"))
def test_a_valid_frame_keeps_to_the_schema_of_its_side_and_no_other(vector: dict[str, Any]) -> None:
    """As it is on the wire, and with every field spelled out. Frames from the future are in no schema yet."""
    message = json.loads(vectors.read(vector))
    mine, other = (
        ("client_frame", "server_frame") if vector["from"] == "client" else ("server_frame", "client_frame")
    )
    known = vector["frame"] is not None
    assert validator(mine).is_valid(message) is known
    assert not validator(other).is_valid(message)
    if known:
        validator(mine).validate(vector["frame"])


NO_JSON = ("cut short", "two frames", "byte order mark", "no UTF-8", "nothing", "no JSON", "endless")
DECIDED_ELSEWHERE = (
    "before hello", "second hello", "is none", "changed signature", "no token", "nobody's", "two ends", "exponent",
    "lone surrogate", "control character", "U+0000", "too large", "nested too deep", "no double", "too long",
)  # fmt: skip
"""What a schema cannot see: the phase, tokens, sizes in bytes, characters, two fields that exclude each other."""


@pytest.mark.parametrize("vector", vectors.of("invalid_frames", "frames", "rule", "name"))
def test_an_invalid_frame_breaks_the_schema_where_a_schema_can_tell(vector: dict[str, Any]) -> None:
    try:
        message = json.loads(vectors.read(vector).decode())
    except (ValueError, RecursionError):
        assert any(word in vector["name"] for word in NO_JSON), "the vector should be JSON"
        return
    if validator("client_frame").is_valid(message):
        assert any(word in vector["name"] for word in DECIDED_ELSEWHERE), "the schema should refuse this"
