"""The wire format, checked against the independent `websockets` library and against the rules of RFC 6455."""

import contextlib
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame as TheirFrame, Opcode
from websockets.streams import StreamReader

from posthouse.gateway.deflate import deflate
from posthouse.gateway.wire import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Reader,
    Violation,
    close_frame,
    control_frame,
    encode_frame,
)
from tests.gateway.peers import client_frame

MESSAGE_BYTES_MAX = 70_000
FRAGMENTS_MAX = 50


def read(*chunks: bytes, deflates: bool = False) -> Iterator[tuple[int, bytes]]:
    """What a reader makes of chunks that come one after the other."""
    reader = Reader(MESSAGE_BYTES_MAX, FRAGMENTS_MAX, deflates)
    for chunk in chunks:
        reader.feed(chunk)
        while (event := reader.next_event()) is not None:
            yield event


def read_theirs(data: bytes) -> TheirFrame:
    """What another library makes of one frame of ours; it inflates what is compressed."""
    stream = StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    extension = PerMessageDeflate(True, True, 15, 15)
    parsing = TheirFrame.parse(stream.read_exact, mask=False, extensions=[extension])
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    frame = parsed.value.value
    assert isinstance(frame, TheirFrame)
    return frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 100_000])
def test_an_encoded_message_is_read_by_another_library(size: int) -> None:
    frame = read_theirs(encode_frame(b"x" * size).plain)
    assert (frame.opcode, frame.fin, frame.rsv1, frame.data) == (Opcode.TEXT, True, False, b"x" * size)


def test_a_large_message_has_a_compressed_form_made_once() -> None:
    message = b"again and again " * 50
    frame = encode_frame(message)
    assert frame.deflated is frame.deflated
    assert len(frame.deflated) < len(frame.plain) / 4
    theirs = read_theirs(frame.deflated)
    assert (theirs.opcode, bytes(theirs.data)) == (Opcode.TEXT, message)


@pytest.mark.parametrize("message", [b"x" * 255, random.Random(1).randbytes(400)])
def test_what_is_short_or_does_not_shrink_is_sent_plain(message: bytes) -> None:
    frame = encode_frame(message)
    assert frame.deflated is frame.plain


def test_close_frames_carry_code_and_reason() -> None:
    theirs = read_theirs(close_frame(4001, "ü" * 100))
    assert theirs.opcode is Opcode.CLOSE
    assert bytes(theirs.data) == (4001).to_bytes(2, "big") + "ü".encode() * 61
    assert close_frame(1005) == b"\x88\x00"


control_frames = st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125))
messages = st.tuples(st.just(TEXT), st.text(max_size=300).map(str.encode))


@given(st.data(), st.booleans())
def test_any_messages_in_any_pieces_arrive_whole_and_in_order(data: st.DataObject, deflates: bool) -> None:
    wire, expected = b"", []
    for opcode, payload in data.draw(st.lists(st.one_of(messages, control_frames), max_size=6)):
        if opcode != TEXT:
            wire += TheirFrame(Opcode(opcode), payload).serialize(mask=True)
            expected.append((opcode, payload))
            continue
        sent = deflate(payload) if deflates else payload
        cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))
        parts = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            compressed = 0x40 if deflates and index == 0 else 0
            wire += client_frame((0x80 if last else 0) | compressed | (0x1 if index == 0 else 0x0), part)
            if not last and data.draw(st.booleans()):
                wire += TheirFrame(Opcode.PING, b"between").serialize(mask=True)
                expected.append((PING, b"between"))
        expected.append((TEXT, payload))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    chunks = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert list(read(*chunks, deflates=deflates)) == expected


def test_a_message_that_comes_byte_by_byte_arrives() -> None:
    wire = client_frame(0x81, "grüß".encode() * 50) + client_frame(0x88, b"\x03\xe8bye")
    events = list(read(*(wire[at : at + 1] for at in range(len(wire)))))
    assert events == [(TEXT, "grüß".encode() * 50), (CLOSE, b"\x03\xe8bye")]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, MESSAGE_BYTES_MAX])
def test_a_message_of_any_allowed_size_arrives(size: int) -> None:
    assert list(read(client_frame(0x81, b"x" * size))) == [(TEXT, b"x" * size)]


BOMB = deflate(b"x" * 10_000_000)
VIOLATIONS: dict[str, tuple[int, bytes]] = {
    "an unmasked frame": (1002, b"\x81\x02hi"),
    "reserved bit 1 without compression": (1002, client_frame(0xC1, b"hi")),
    "reserved bit 2": (1002, client_frame(0xA1, b"hi")),
    "reserved bit 3": (1002, client_frame(0x91, b"hi")),
    "an unknown data opcode": (1002, client_frame(0x83, b"hi")),
    "an unknown control opcode": (1002, client_frame(0x8B, b"hi")),
    "a fragmented ping": (1002, client_frame(0x09, b"hi")),
    "a ping of 126 bytes": (1002, client_frame(0x89, b"x" * 126)),
    "a close of 126 bytes": (1002, client_frame(0x88, b"\x03\xe8" + b"x" * 124)),
    "a continuation of nothing": (1002, client_frame(0x80, b"hi")),
    "a continuation after the end": (1002, client_frame(0x81, b"a") + client_frame(0x80, b"b")),
    "a message inside a message": (1002, client_frame(0x01, b"a") + client_frame(0x81, b"b")),
    "a 16-bit length for 5 bytes": (1002, b"\x81\xfe\x00\x05abcdhello"),
    "a 64-bit length for 300 bytes": (1002, b"\x81\xff" + (300).to_bytes(8, "big") + b"abcd" + b"x" * 300),
    "a 64-bit length with the top bit": (1002, b"\x81\xff\x80" + bytes(7) + b"abcd"),
    "a close of one byte": (1002, client_frame(0x88, b"\x03")),
    "a close reason that is not UTF-8": (1007, client_frame(0x88, b"\x03\xe8\xff")),
    "a binary message": (1003, client_frame(0x82, b"hi")),
    "a binary fragment": (1003, client_frame(0x02, b"hi")),
    "text that is not UTF-8": (1007, client_frame(0x81, b"ab\xff")),
    "text with a surrogate": (1007, client_frame(0x81, b"\xed\xa0\x80")),
    "text cut inside a character": (1007, client_frame(0x01, b"ab\xc3") + client_frame(0x80, b"")),
    "a message too large": (1009, client_frame(0x81, b"x" * (MESSAGE_BYTES_MAX + 1))),
    "a length too large, before its bytes": (1009, b"\x81\xff" + (1 << 40).to_bytes(8, "big")),
    "fragments too large together": (
        1009,
        client_frame(0x01, b"x" * MESSAGE_BYTES_MAX) + client_frame(0x80, b"x"),
    ),
    "too many fragments": (1009, client_frame(0x01) + client_frame(0x00) * FRAGMENTS_MAX),
    **{
        f"close code {code}": (1002, client_frame(0x88, code.to_bytes(2, "big")))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
}
DEFLATED_VIOLATIONS: dict[str, tuple[int, bytes]] = {
    "a compressed ping": (1002, client_frame(0xC9, b"hi")),
    "a compressed continuation": (1002, client_frame(0x41, b"hi") + client_frame(0xC0, b"hi")),
    "a deflate bomb": (1009, client_frame(0xC1, BOMB)),
    "a fragmented deflate bomb": (1009, client_frame(0x41, BOMB[:100]) + client_frame(0x80, BOMB[100:])),
    "bytes that do not inflate": (1007, client_frame(0xC1, b"\xff" * 20)),
    "text that is not UTF-8 once inflated": (1007, client_frame(0xC1, deflate(b"\xff" * 20))),
    "a compressed binary message": (1003, client_frame(0xC2, deflate(b"hi"))),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_named_by_its_code(name: str) -> None:
    code, wire = VIOLATIONS[name]
    with pytest.raises(Violation) as caught:
        list(read(wire))
    assert caught.value.code == code


@pytest.mark.parametrize("name", DEFLATED_VIOLATIONS)
def test_a_violation_with_compression_is_named_by_its_code(name: str) -> None:
    code, wire = DEFLATED_VIOLATIONS[name]
    with pytest.raises(Violation) as caught:
        list(read(wire, deflates=True))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999]
)
def test_every_code_that_a_client_may_close_with_is_accepted(code: int) -> None:
    payload = code.to_bytes(2, "big") + "leb wohl, ü".encode()
    assert list(read(client_frame(0x88, payload))) == [(CLOSE, payload)]


def test_messages_before_a_violation_are_given_first() -> None:
    events = read(client_frame(0x81, b"good") + client_frame(0x83))
    assert next(events) == (TEXT, b"good")
    with pytest.raises(Violation):
        next(events)


def test_a_reader_holds_nothing_between_frames_and_no_more_than_is_unfinished() -> None:
    reader = Reader(MESSAGE_BYTES_MAX, FRAGMENTS_MAX, inflates=False)
    reader.feed(client_frame(0x81, b"x" * 60_000) * 3 + b"\x81")
    while reader.next_event():
        pass
    assert reader._data == b"\x81"
    reader.feed(client_frame(0x81, b"done")[1:])
    assert reader.next_event() == (TEXT, b"done")
    assert reader.next_event() is None
    assert isinstance(reader._data, bytes)
    assert not reader._data


def test_a_pong_repeats_its_ping() -> None:
    theirs = read_theirs(control_frame(PONG, b"abc"))
    assert (theirs.opcode, bytes(theirs.data)) == (Opcode.PONG, b"abc")


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda b: client_frame(0x81, b)))),
    st.booleans(),
)
def test_no_bytes_whatever_raise_anything_but_a_violation(chunks: list[bytes], deflates: bool) -> None:
    with contextlib.suppress(Violation):
        list(read(*chunks, deflates=deflates))


@given(st.integers(0, 255), st.binary(max_size=200), st.integers(0, 210), st.integers(0, 255))
def test_no_damaged_frame_raises_anything_but_a_violation(
    start: int, payload: bytes, at: int, byte: int
) -> None:
    damaged = bytearray(client_frame(start, payload) + client_frame(0x81, b"next"))
    damaged[at % len(damaged)] = byte
    with contextlib.suppress(Violation):
        list(read(bytes(damaged), deflates=True))
