"""Fuzzes a worker's words to its supervisor: the same however they are cut, and no word stops it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.app.pulse import BEAT, READY, port_of, words_of


def check(data: bytes) -> None:
    whole = _heard([data])
    for size in (1, 7, 300):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert _heard(pieces) == whole, f"in pieces of {size} it hears otherwise"
    assert len(whole) == data.count(b"\n")


def _heard(pieces: list[bytes]) -> list[int | None]:
    said: list[int | None] = []
    rest = b""
    for piece in pieces:
        words, rest = words_of(rest, piece)
        assert len(rest) <= 64
        said += map(port_of, words)
    return said


SEEDS = [BEAT + READY % 8080 + BEAT, READY % 65_535, b"ready\n", b"ready x\nready 1 2\n", b"\n\n"]
WORDS = [b"ready ", b"beat", b"\n", b" ", b"8080", b"-1", b"\x00", b"\xff", "٣".encode(), b"x" * 70]

FUZZER = Fuzzer("worker_words", check, ("posthouse.app.pulse",), SEEDS, WORDS, size_max=1_000, cost=3)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
