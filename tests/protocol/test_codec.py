"""Frames survive the way over the wire, and whatever else comes over it is refused, not misread."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from jsonschema import Draft202012Validator

from posthouse.protocol.codec import REASON_BYTES_MAX, BadFrame, decode_client, decode_server, encode
from posthouse.protocol.frames import Done, Error, Ping, Push, Send
from spec import schema
from tests.protocol.examples import BODIES, CLIENT_FRAMES, SERVER_FRAMES, TEXTS

LIMITS = {"minLength", "maxLength", "minimum", "maximum", "pattern", "maxItems", "maxProperties"}


def shapes(schema: Any) -> Any:
    """A schema without its limits, which the types leave open."""
    if isinstance(schema, dict):
        return {key: shapes(value) for key, value in schema.items() if key not in LIMITS}
    return [shapes(value) for value in schema] if isinstance(schema, list) else schema


SHAPES = shapes(schema.document()["$defs"])
CLIENT_SIDE = Draft202012Validator({"$ref": "#/$defs/client_frame", "$defs": SHAPES})
SERVER_SIDE = Draft202012Validator({"$ref": "#/$defs/server_frame", "$defs": SHAPES})


def refusal(decode: Callable[[bytes], object], message: bytes) -> str | None:
    """Why `decode` refuses the message, or None when it does not."""
    try:
        decode(message)
    except BadFrame as error:
        return str(error)
    return None


@given(CLIENT_FRAMES)
def test_every_frame_of_a_client_arrives_as_it_was_sent(frame: Any) -> None:
    assert decode_client(encode(frame)) == frame


@given(SERVER_FRAMES)
def test_every_frame_of_a_server_arrives_as_it_was_sent(frame: Any) -> None:
    assert decode_server(encode(frame)) == frame


@given(CLIENT_FRAMES, SERVER_FRAMES)
def test_whatever_either_side_can_say_has_the_shape_of_the_schema(mine: Any, theirs: Any) -> None:
    CLIENT_SIDE.validate(msgspec.json.decode(encode(mine)))
    SERVER_SIDE.validate(msgspec.json.decode(encode(theirs)))


@given(BODIES, TEXTS)
def test_a_body_is_passed_on_byte_for_byte(body: dict[str, object], text: str) -> None:
    """White space, escapes and the order of keys are the sender's own."""
    raw = (
        b' {"z" : 1.50, "\\u00e9":'
        + msgspec.json.encode(text)
        + b', "more":'
        + msgspec.json.encode(body)
        + b"}"
    )
    message = b'{"t":"send","conv":"c","client_id":"k","made_at":1,"body":' + raw + b"}"
    frame = decode_client(message)
    assert isinstance(frame, Send)
    assert bytes(frame.body) == raw.strip()
    assert raw.strip() in encode(frame)


@given(st.binary(max_size=200) | TEXTS.map(str.encode))
def test_bytes_that_are_no_frame_are_refused_with_a_short_reason(message: bytes) -> None:
    for decode in (decode_client, decode_server):
        reason = refusal(decode, message)
        assert reason is None or (0 < len(reason) <= REASON_BYTES_MAX and reason.isascii())


@given(CLIENT_FRAMES, st.data())
def test_a_frame_cut_short_is_no_frame(frame: Any, data: st.DataObject) -> None:
    message = encode(frame)
    with pytest.raises(BadFrame):
        decode_client(message[: data.draw(st.integers(0, len(message) - 1))])


@pytest.mark.parametrize("depth", [100, 500, 900, 1_000, 5_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_never_ends_in_anything_but_a_frame_or_a_refusal(
    depth: int, opening: str, closing: str
) -> None:
    """P-3.1: in a field that nobody knows, in a body, and before any field."""
    nested = opening * depth + "1" + closing * depth
    body = f'{{"t":"send","conv":"c","client_id":"k","made_at":1,"body":{nested}}}'
    for message in (f'{{"t":"ping","more":{nested}}}', body, nested, opening * depth):
        for decode in (decode_client, decode_server):
            refusal(decode, message.encode())


@pytest.mark.parametrize(
    "value", ["1.0", "1e3", '"1"', "true", "null", "[1]", "{}", "-", "NaN", "Infinity", "0x1", "01"]
)
def test_an_integer_is_written_in_digits_and_nothing_else(value: str) -> None:
    """P-3.6."""
    with pytest.raises(BadFrame):
        decode_client(f'{{"t":"list","ref":{value}}}'.encode())


def test_a_server_frame_of_an_unknown_kind_is_passed_over_whatever_it_holds() -> None:
    """P-3.3: also when its other fields look like those of a frame that is known, and are of other types."""
    assert decode_server(b'{"t":"entry.v2","entry":[1],"ref":"x"}') is None
    assert decode_server(b'{"ref":1,"t":"Invalid value"}') is None
    assert decode_server(b'{"t":""}') is None


@pytest.mark.parametrize(
    "message",
    [
        b'{"t":1}',
        b'{"t":null}',
        b'{"ref":1}',
        b'{"t":"error","code":"at `$.t`","reason":""}',
        b'{"t":"error","code":4001,"reason":"Invalid value at `$.t`","ref":"Invalid value at `$.t`"}',
        b'{"t":"conversations","ref":1,"items":[{"conv":"c","kind":"$.t","role":"owner"}]}',
        b'{"t":"done","ref":1',
    ],
)
def test_a_known_server_frame_that_is_malformed_is_not_taken_for_an_unknown_one(message: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_server(message)


def test_defaults_stay_unsaid() -> None:
    """P-3.5: frames are short; a heartbeat is a dozen bytes."""
    assert encode(Ping()) == b'{"t":"ping"}'
    assert encode(Error(code=4601, reason="no", ref=3)) == b'{"t":"error","code":4601,"reason":"no","ref":3}'


def test_one_side_does_not_understand_the_frames_of_the_other() -> None:
    """P-3.3, P-3.4."""
    with pytest.raises(BadFrame):
        decode_client(encode(Done(ref=1)))
    assert decode_server(encode(Ping())) is None


@pytest.mark.parametrize("field", ["kind", "role"])
def test_no_other_kind_of_conversation_and_no_other_role_is_taken(field: str) -> None:
    """P-16.4."""
    item = {"conv": "c", "kind": "group", "role": "owner", "head": 1, "first_seq": 1, "joined_seq": 1}
    listed = {"t": "conversations", "ref": 1, "items": [item]}
    assert decode_server(msgspec.json.encode(listed)) is not None
    item[field] = "another"
    with pytest.raises(BadFrame):
        decode_server(msgspec.json.encode(listed))


def test_an_entry_of_an_unknown_kind_arrives_whole() -> None:
    """P-16.3: readers before writers; what is not understood is kept."""
    message = (
        b'{"t":"entry","entry":{"conv":"c","seq":1,"kind":"message.edited.v9","at_ms":1,"ordinal":0,"body":{"to":1},'
        b'"colour":"blue"}}'
    )
    frame = decode_server(message)
    assert isinstance(frame, Push)
    assert (frame.entry.kind, bytes(frame.entry.body)) == ("message.edited.v9", b'{"to":1}')
