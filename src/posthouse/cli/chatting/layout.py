"""Lines as rows of a terminal: wrapped at its width, each row a list of (style, text). Pure."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from wcwidth import clip, wcswidth, wrap

from posthouse.cli.chatting.transcript import Line, Mark
from posthouse.cli.times import clock_time

Row = list[tuple[str, str]]

WIDTH_MIN = 40
INDENT = " " * 6
NAME_STYLES = 6
"""Styles `name0` … `name5`: a user has the same one everywhere."""
NAME_COLUMNS_MAX = 24
WAITING_ROWS_MAX = 6


def rows_of(line: Line, mark: Mark, width: int) -> list[Row]:
    """The rows of one line."""
    width = max(width, WIDTH_MIN)
    if not line.who:
        return [[("class:notice", text)] for part in line.texts for text in _wrapped(part, width, "· ", "  ")]
    name_style = "class:me" if line.own else name_style_of(line.who)
    prefix = [("class:time", f"{clock_time(line.at_ms)} "), (name_style, _short(line.who)), ("", ": ")]
    first = "".join(text for _, text in prefix)
    texts = _body(line, width, first)
    style = "class:waiting" if mark is Mark.WAITING else "class:mentioned" if line.mentions_me else ""
    rows = [[*prefix, (style, texts[0].removeprefix(first))], *([(style, text)] for text in texts[1:])]
    return _marked(rows, texts[-1], mark, width)


def waiting_rows(lines: Sequence[Line], width: int) -> list[Row]:
    """The own lines that are not in the log yet: the newest ones, and how many older ones there are."""
    rows = [row for line in lines[-WAITING_ROWS_MAX:] for row in rows_of(line, Mark.WAITING, width)]
    hidden = max(0, len(lines) - WAITING_ROWS_MAX)
    return [[("class:notice", f"… {hidden} more wait to be sent")], *rows] if hidden else rows


def name_style_of(user: str) -> str:
    """The style of a user's name."""
    return f"class:name{blake2b(user.encode(errors='replace'), digest_size=1).digest()[0] % NAME_STYLES}"


def plain(rows: Iterable[Row]) -> str:
    """Rows without their styles."""
    return "\n".join("".join(text for _, text in row) for row in rows)


def _short(name: str) -> str:
    return name if wcswidth(name) <= NAME_COLUMNS_MAX else f"{clip(name, 0, NAME_COLUMNS_MAX - 1)}…"


def _body(line: Line, width: int, first: str) -> list[str]:
    texts = _wrapped(line.texts[0], width, first, INDENT)
    return texts + [text for part in line.texts[1:] for text in _wrapped(part, width, INDENT, INDENT)]


def _wrapped(text: str, width: int, first: str, then: str) -> list[str]:
    """At least one row; a text's own indentation is kept, and words are broken only where they do not fit."""
    rows = wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=then,
        break_on_hyphens=False,
        drop_whitespace=not text.startswith(" "),
        control_codes="ignore",
    )
    return rows or [first]


def _marked(rows: list[Row], last: str, mark: Mark, width: int) -> list[Row]:
    """The mark stands behind the last row, or below it where there is no room."""
    if mark is Mark.NONE:
        return rows
    fragment = (f"class:mark.{mark.name.lower()}", f"  {mark.value}")
    if wcswidth(last) + wcswidth(fragment[1]) <= width:
        return [*rows[:-1], [*rows[-1], fragment]]
    return [*rows, [("", INDENT), (fragment[0], mark.value)]]
