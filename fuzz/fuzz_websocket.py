"""Fuzzes the reader of WebSocket frames: whole messages or a `Violation`, the same however the bytes come in pieces."""

import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import client_messages
from posthouse.gateway.wire import PING, PONG, TEXT, Reader, Violation

MESSAGE_BYTES_MAX = 4_096
FRAGMENTS_MAX = 64
Events = list[tuple[int, bytes] | str]


def frame(start: int, payload: bytes, key: bytes = bytes(4)) -> bytes:
    """A masked frame; with the key of zeros the payload stays readable, so that words find their way into it."""
    size = len(payload)
    if size < 126:
        header = bytes((start, 0x80 | size))
    elif size < 1 << 16:
        header = bytes((start, 0xFE)) + size.to_bytes(2, "big")
    else:
        header = bytes((start, 0xFF)) + size.to_bytes(8, "big")
    return header + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def deflated(payload: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def events_of(pieces: list[bytes], *, inflates: bool) -> Events:
    """All events of the bytes; a violation, or a close, is the last."""
    reader = Reader(MESSAGE_BYTES_MAX, FRAGMENTS_MAX, inflates)
    events: Events = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (event := reader.next_event()) is not None:
                events.append(event)
                if event[0] not in (TEXT, PING, PONG):
                    return events
        except Violation as violation:
            return [*events, f"{violation.code} {violation.counter} {violation.reason}"]
    return events


def check(data: bytes) -> None:
    for inflates in (False, True):
        events = events_of([data], inflates=inflates)
        _check_events(events)
        for size in (1, 2, 7, 125):
            pieces = [data[at : at + size] for at in range(0, min(len(data), 400 * size), size)]
            whole = events_of([b"".join(pieces)], inflates=inflates)
            assert events_of(pieces, inflates=inflates) == whole, f"in pieces of {size} it reads otherwise"


def _check_events(events: Events) -> None:
    for event in events:
        if isinstance(event, str):
            continue
        opcode, payload = event
        assert len(payload) <= (MESSAGE_BYTES_MAX if opcode == TEXT else 125)
        if opcode == TEXT:
            payload.decode()
        again = events_of([frame(0x80 | opcode, payload, b"\x01\x80\xfe\x37")], inflates=False)
        assert again == [event], f"{event} comes back as {again}"


_HELLO = b'{"t":"ping"}'
_SHORT = [message for message in client_messages() if len(message) < 2_000]
SEEDS = [
    *(frame(0x81, message) for message in _SHORT[:30]),
    frame(0x81, _HELLO, b"\x01\x80\xfe\x37"),
    frame(0x01, b"{") + frame(0x00, b'"t":') + frame(0x89, b"beat") + frame(0x80, b'"ping"}'),
    frame(0x01, b"\xf0\x9f") + frame(0x80, b"\x98\x80"),
    frame(0x81, b"x" * 300) + frame(0x81, b"y" * 3_000),
    frame(0xC1, deflated(_HELLO * 20)),
    frame(0x41, deflated(_HELLO * 20)[:9]) + frame(0x80, deflated(_HELLO * 20)[9:]),
    frame(0xC1, deflated(b"bomb" * 100_000)),
    frame(0x8A, b"") + frame(0x89, b"x" * 125),
    frame(0x88, b""),
    frame(0x88, b"\x03\xe8bye"),
    frame(0x88, b"\x0f\xa1" + "é".encode()),
    frame(0x82, b"binary"),
    frame(0x01, b"") + frame(0x00, b"") * 70,
    frame(0x01, b"x" * 2_000) + frame(0x00, b"x" * 2_000) + frame(0x80, b"x" * 2_000),
]
WORDS = [
    bytes((start, 0x80)) + bytes(4) for start in (0x00, 0x01, 0x80, 0x81, 0x88, 0x89, 0x8A, 0xC1, 0x41)
] + [
    b"\x81\xfe",
    b"\x81\xff",
    b"\xfe\x00\x7e",
    b"\xff" + bytes(8),
    b"\xff\x7f" + b"\xff" * 7,
    bytes(4),
    b"\x80",
    b"\xf0\x9f",
    b"\x0f\xff",
    b"\x00\x00\xff\xff",
]

FUZZER = Fuzzer("websocket", check, ("posthouse.gateway.wire", "posthouse.gateway.deflate"), SEEDS, WORDS)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
