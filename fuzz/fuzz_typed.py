"""Fuzzes what people type: a line of a chat, and a span of time on a command line."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

import click

from fuzz.loop import Fuzzer, main
from posthouse.cli.chatting.slash import COMMANDS, Command, Message, Mistake, parse
from posthouse.cli.spans import Span

SECONDS_MAX = 999_999_999 * 86_400


def check(data: bytes) -> None:
    typed = data.decode("utf-8", "surrogateescape")
    _check_line(typed)
    _check_span(typed)


def _check_line(typed: str) -> None:
    meant = parse(typed)
    match meant:
        case Command(name, argument):
            assert name in COMMANDS
            assert argument == argument.strip()
        case Message(text) | Mistake(text):
            assert text.strip()
        case None:
            assert not typed.strip()
    if isinstance(meant, Message) and meant.text.lstrip().startswith("/"):
        assert typed.lstrip().startswith("//"), "a command was taken for a message"


def _check_span(typed: str) -> None:
    try:
        seconds = Span().convert(typed, None, None)
    except click.BadParameter:
        return
    assert 0 < seconds <= SECONDS_MAX


SEEDS = [
    b"hello", b"  ", b"//slash", b"/help", b"/open @ben", b"/history 20", b"/opne x", b"/open", b"/", b"90", b"15m",
    b"12h", b"7d", b"999999999d", b"0", b"1.5h",
]  # fmt: skip
WORDS = [
    b"/", b"//", b"@", b" ", b"\n", b"\t", b"help", b"open", b"history", b"quit", b"s", b"m", b"h", b"d", b"9", b"\x00",
    b"\xff", "٣".encode(), "\u2028".encode(), "\u00a0".encode(), "\U0001f600".encode(),
]  # fmt: skip

FUZZER = Fuzzer(
    "typed", check, ("posthouse.cli.chatting.slash", "posthouse.cli.spans"), SEEDS, WORDS, size_max=2_000
)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
