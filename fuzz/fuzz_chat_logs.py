"""Fuzzes the chat logs that `posthouse replay` reads: days that can be played, or `BadLog`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS
from posthouse.load.irc import Act, BadLog, Day, read
from posthouse.model.ids import check_id


def check(data: bytes) -> None:
    try:
        days = list(read(data.split(b"\n")))
    except BadLog:
        return
    names = [day.name for day in days]
    assert names == sorted(set(names))
    for day in days:
        _check_play(day)


def _check_play(day: Day) -> None:
    """Whoever acts is there."""
    there = set(day.present)
    assert there <= set(day.cast)
    after_s = 0
    for step in day.steps:
        assert check_id(step.nick, "user") in day.cast
        assert step.after_s >= after_s, "time goes back"
        after_s = step.after_s
        assert (step.nick in there) == (step.act is not Act.JOIN), step
        if step.act is Act.JOIN:
            there.add(step.nick)
        elif step.act is Act.LEAVE:
            there.remove(step.nick)


_LINES = [
    b'{"at":"2026-01-01T10:00:00Z","kind":"join","nick":"ben"}',
    b'{"at":"2026-01-01T10:00:05Z","kind":"action","nick":"ann","text":"waves"}',
    b'{"at":"2026-01-01T10:00:09Z","kind":"rename","nick":"ben","to":"benny"}',
    b'{"at":"2026-01-01T09:00:00Z","kind":"leave","nick":"cyd"}',
    b'{"at":"2026-01-02T00:00:00Z","kind":"leave","nick":"ann"}',
]
SEEDS = [
    b'{"at":"2026-01-01T10:00:00Z","kind":"message","nick":"ann","text":"hello"}',
    b"\n".join(_LINES),
    b'{"at":"2026-01-01T23:59:59+05:30","kind":"rename","nick":" ann ","to":"ann"}',
]
WORDS = [
    *JSON_WORDS, *_LINES, b'"kind":"rename"', b'"kind":"leave"', b'"to":"ann"', b'"nick":" "', b"2026-01-02T",
    b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59.999999-14:00", b"T24:00:00Z", b"Z", b"+00:00",
]  # fmt: skip

FUZZER = Fuzzer("chat_logs", check, ("posthouse.load.irc",), SEEDS, WORDS, size_max=20_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
