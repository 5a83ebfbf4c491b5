"""Fuzzes the marks with which clients ask for the next page of their list: any text is a place in the list."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.storage.marks import mark_of, text_of

BIGINT_MAX = 2**63 - 1


def check(data: bytes) -> None:
    mark = mark_of(data.decode("utf-8", "replace"))
    active_ms, conv = mark
    assert -BIGINT_MAX - 1 <= active_ms <= BIGINT_MAX, "no database has such integers"
    assert "\0" not in conv, "PostgreSQL has no such texts"
    assert mark_of(text_of(mark)) == mark, f"{mark} comes back as {mark_of(text_of(mark))}"


SEEDS = [b"", b"1767225600000:lounge", b"1767225600000:=abc", b"0:", b":c", b"c", "1:王".encode()]
WORDS = [
    b":",
    b"-",
    b"0",
    b"9223372036854775807",
    b"9223372036854775808",
    b"1e9",
    b"\x00",
    "٣".encode(),
    "²".encode(),
    b"_",
]

FUZZER = Fuzzer(
    "page_marks", check, ("posthouse.storage.marks", "posthouse.model.ids"), SEEDS, WORDS, size_max=60_000
)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
