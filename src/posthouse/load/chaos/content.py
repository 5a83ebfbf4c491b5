"""What the clients say: sentences of a real chat log, where one lies beside the project, made-up ones elsewhere."""

import gzip
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from posthouse.load.irc import Line
from posthouse.load.sample import chat_log
from posthouse.testing.releases import REPOSITORY

SENTENCES_MAX = 20_000
_REAL = REPOSITORY.parent / "shared" / "data" / "chat"
_decode = msgspec.json.Decoder(Line).decode


def real_log() -> Path | None:
    """The chat log beside the project, if there is one."""
    return next(iter(sorted(_REAL.glob("*.jsonl.gz"))), None)


def sentences(log: Path | None, seed: int) -> list[str]:
    """What was said in `log`, or without one what might have been, from a place that follows from `seed`."""
    chance = random.Random(seed)
    if log is None:
        said = list(_said(chat_log(chance, days=3, lines_per_day=1_000)))
    else:
        with gzip.open(log) as lines:
            said = list(islice(_said(lines), SENTENCES_MAX))
    begin = chance.randrange(len(said))
    return said[begin:] + said[:begin]


def _said(lines: Iterable[bytes]) -> Iterator[str]:
    for line in map(_decode, lines):
        if line.text:
            yield line.text
