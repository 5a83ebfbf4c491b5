"""Entries and conversations as lines of a listing: one a line, so that other programs can cut them up. Pure."""

from collections.abc import Sequence

from wcwidth import clip, ljust, wcswidth

from posthouse.cli import printable
from posthouse.cli.entries import is_notice, lines_of
from posthouse.cli.times import local_time
from posthouse.model.entry import Entry
from posthouse.protocol.frames import Summary

COLUMNS = ("CONVERSATION", "KIND", "WITH", "UNREAD", "MENTIONS", "LAST")
LAST_COLUMNS_MAX = 40
CONTINUED = " ⏎ "


def entry_text(entry: Entry, conversation: str = "") -> str:
    """`12 2026-11-23 22:40:10 ann: hello`; `conversation` names it first where there are several."""
    words = [conversation, str(entry.seq), local_time(entry.at_ms), said(entry)]
    return " ".join(word for word in words if word)


def said(entry: Entry) -> str:
    """Who said what, in one line."""
    text = CONTINUED.join(lines_of(entry))
    if is_notice(entry):
        return f"* {text}"
    answering = f"(to {entry.reply_to}) " if entry.reply_to else ""
    return f"{printable.line(entry.sender) or 'the server'}: {answering}{text}"


def name_of(summary: Summary) -> str:
    """What a person would call the conversation."""
    return printable.line((f"@{summary.peer}" if summary.peer else "") or summary.title or summary.conv)


def row_of(summary: Summary) -> tuple[str, ...]:
    """A conversation as a row of `COLUMNS`."""
    last = said(summary.last) if summary.last is not None else ""
    short = last if wcswidth(last) <= LAST_COLUMNS_MAX else f"{clip(last, 0, LAST_COLUMNS_MAX - 1)}…"
    conv = printable.line(summary.conv)
    return (
        conv,
        summary.kind.value,
        name_of(summary),
        _count(summary.unread),
        _count(summary.mentions),
        short,
    )


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their cells aligned; the last column is as wide as it is."""
    widths = [max(map(wcswidth, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(ljust, row, (*widths[:-1], 0))).rstrip() for row in rows]


def _count(number: int) -> str:
    return str(number) if number else "-"
