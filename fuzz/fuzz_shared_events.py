"""Fuzzes the events that nodes tell each other over the bus: what cannot be read is passed over."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

import msgspec

from fuzz.fuzz_notes import WORDS as PACKED_WORDS
from fuzz.loop import Fuzzer, main
from posthouse.cluster.events import Event, Events
from posthouse.kit.clock import ManualClock


def check(data: bytes) -> None:
    events = Events("n1", lambda: 1, ManualClock())
    events.hear([data, _ALIEN])
    heard = events.latest()
    assert len(heard) in (1, 2), "one that cannot be read has taken another with it"
    assert all(event.node != "n1" for event in heard)
    for event in heard:
        assert event in events.latest(kind=event.kind, subject=event.subject)


def _packed(event: Event) -> bytes:
    return msgspec.msgpack.encode(event)


_ALIEN = _packed(Event(1, "n2", 1, 1, "drain", "n2", "an operator asked for it"))
SEEDS = [
    _ALIEN,
    _packed(Event(2**53, "n1", 1, 2, "node", "n3", "it is one's own")),
    _packed(Event(0, "", 0, 0, "", "", "王" * 300, dry_run=True)),
]
WORDS = [*PACKED_WORDS, b"\xa5at_ms", b"\xa4node\xa2n2", b"\xa7dry_run\xc3", b"\xa3why\xa1\xff", b"\xa1x"]

FUZZER = Fuzzer("shared_events", check, ("posthouse.cluster.events",), SEEDS, WORDS, size_max=5_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
