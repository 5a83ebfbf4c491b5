"""Fuzzes what gateways read from the bus: notes that survive encoding, or bytes that are counted and passed over."""

import sys
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import server_messages
from posthouse.messaging.notes import (
    BlockNote,
    CursorsNote,
    EntryNote,
    Handlers,
    HeadsNote,
    Note,
    decode_notes,
    encode_notes,
)


def check(data: bytes) -> None:
    heard: list[Note] = []
    handlers = Handlers()
    for kind in get_args(Note):
        handlers.on(kind, heard.append)
    handlers.deliver(data)
    if not handlers.unreadable:
        assert decode_notes(encode_notes(heard)) == heard == decode_notes(data)


_FRAMES = server_messages()
SEEDS = [
    encode_notes([]),
    encode_notes([EntryNote("default", "lounge", 7, _FRAMES[0])]),
    encode_notes(
        [EntryNote("default", "lounge", 7, _FRAMES[1], "n1.1.1", ("ann", "ben")), BlockNote("default", "cyd")]
    ),
    encode_notes(
        [CursorsNote("default", "=abc", _FRAMES[2]), HeadsNote("default", {"lounge": 9, "~ann": 2**53 - 1})]
    ),
]
WORDS = [
    b"\x90",
    b"\xdd\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xa7default",
    b"\x95\x01",
    b"\x93\x02",
    b"\x93\x03",
    b"\x93\x04",
    b"\x92\x05",
    b"\xc0",
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + bytes(7),
    b"\xa1\xff",
    b"\x91",
    b"\x81",
]

FUZZER = Fuzzer("notes", check, ("posthouse.messaging.notes",), SEEDS, WORDS, size_max=10_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
