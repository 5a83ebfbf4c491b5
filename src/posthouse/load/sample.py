"""A small made-up chat log in the format that replay reads, for tests and for trying out. A seed repeats it."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

_FIRST_DAY = datetime(2020, 2, 28, 8, tzinfo=UTC)
_TEXT = "the rider who changed horses said that a letter does not stop at night, in rain, mud or snow 👋 né"
_WORDS = _TEXT.split()
_KINDS = ("message",) * 16 + ("action", "join", "leave", "rename")


def chat_log(
    chance: random.Random, *, days: int = 2, nicks: int = 12, lines_per_day: int = 120
) -> Iterator[bytes]:
    """Lines of JSON, each ended by a line break: `lines_per_day` a day, over a few hours, by up to `nicks` people."""
    names = [f"[nick]{number}^" if number % 3 else f"|né {number}|" for number in range(nicks)]
    for day in range(days):
        at = _FIRST_DAY + timedelta(days=day)
        for _ in range(lines_per_day):
            at += timedelta(minutes=chance.randrange(3))
            yield msgspec.json.encode(_line(chance, at, names)) + b"\n"


def _line(chance: random.Random, at: datetime, names: list[str]) -> dict[str, str]:
    kind = chance.choice(_KINDS)
    line = {"at": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "kind": kind, "nick": chance.choice(names)}
    if kind in ("message", "action"):
        line["text"] = " ".join(chance.choices(_WORDS, k=chance.randrange(1, 20)))
    elif kind == "rename":
        line["to"] = chance.choice(names) + "_"
    return line
