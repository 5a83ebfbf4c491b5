"""A chat log of one IRC channel as a play: for each day who is there from the start, and who does what in turn. Pure.

A nick is a user. Whoever speaks without having joined joins first; whoever leaves or is renamed without having been
seen was there from the start. A rename is the new nick joining and the old one leaving.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Literal, NamedTuple

import msgspec

from posthouse.kit.malformed import MALFORMED
from posthouse.model.errors import InvalidId
from posthouse.model.ids import check_id

_HALF_DAY_S = 12 * 3600


class BadLog(ValueError):
    """The file is no chat log; the message names the line and what is wrong with it."""


class Line(msgspec.Struct, frozen=True):
    """One line of the log: `at` in UTC, `text` of messages and actions, `to` of renames."""

    at: datetime
    kind: Literal["message", "action", "join", "leave", "rename"]
    nick: str
    text: str = ""
    to: str = ""


class Act(StrEnum):
    """What a nick does."""

    JOIN = "join"
    LEAVE = "leave"
    MESSAGE = "message"
    ACTION = "action"
    """A deed instead of a saying, such as `* ann waves`."""


class Step(NamedTuple):
    """One act of a day; `after_s` is in seconds since the day's first, and never goes back."""

    after_s: int
    act: Act
    nick: str
    text: str = ""


class Day(NamedTuple):
    """One day's play. `cast` is everyone in it, in the order of appearance; `present` those there from the start."""

    name: str
    cast: tuple[str, ...]
    present: tuple[str, ...]
    steps: tuple[Step, ...]


def read(lines: Iterable[bytes]) -> Iterator[Day]:
    """The days of a log of JSON lines in their order. Raises `BadLog`."""
    previous = ""
    for name, of_day in groupby(_parsed(lines), key=lambda line: line.at.strftime("%Y-%m-%d")):
        if name <= previous:
            raise BadLog(f"{name} comes after {previous}: a log is in the order of its days")
        previous = name
        yield plan(name, list(of_day))


def plan(name: str, lines: Iterable[Line]) -> Day:
    """One day's play."""
    rehearsal = _Rehearsal()
    for line in lines:
        rehearsal.take(line)
    return Day(name, tuple(rehearsal.cast), tuple(rehearsal.present), tuple(rehearsal.steps))


class _Rehearsal:
    """Walks through a day and keeps track of who is in the group."""

    def __init__(self) -> None:
        self.cast: dict[str, None] = {}
        self.present: list[str] = []
        self.steps: list[Step] = []
        self._members: set[str] = set()
        self._first_s = -1
        self._after_s = 0

    def take(self, line: Line) -> None:
        nick = line.nick
        self._tell_time(int(line.at.timestamp()))
        if line.kind in ("leave", "rename") and nick not in self.cast:
            self.present.append(nick)
            self._enter(nick)
        if line.kind == "rename":
            self._join(line.to)
        elif line.kind != "leave":
            self._join(nick)
        if line.kind in ("message", "action"):
            self._add(Act(line.kind), nick, line.text)
        elif line.kind == "leave" or (line.kind == "rename" and nick != line.to):
            self._leave(nick)

    def _tell_time(self, at_s: int) -> None:
        """Some logs go on past midnight under the date they began with."""
        if self._first_s < 0:
            self._first_s = at_s
        after_s = at_s - self._first_s
        if after_s < self._after_s - _HALF_DAY_S:
            after_s += 2 * _HALF_DAY_S
        self._after_s = max(self._after_s, after_s)

    def _add(self, act: Act, nick: str, text: str = "") -> None:
        self.steps.append(Step(self._after_s, act, nick, text))

    def _enter(self, nick: str) -> None:
        self.cast[nick] = None
        self._members.add(nick)

    def _join(self, nick: str) -> None:
        if nick not in self._members:
            self._enter(nick)
            self._add(Act.JOIN, nick)

    def _leave(self, nick: str) -> None:
        if nick in self._members:
            self._members.remove(nick)
            self._add(Act.LEAVE, nick)


_decode = msgspec.json.Decoder(Line).decode


def _parsed(lines: Iterable[bytes]) -> Iterator[Line]:
    for number, text in enumerate(lines, 1):
        try:
            line = _decode(text)
            names = {"nick": _nick(line.nick)}
            if line.kind == "rename":
                names["to"] = _nick(line.to)
        except (*MALFORMED, InvalidId) as error:
            raise BadLog(f"line {number}: {error}") from None
        yield msgspec.structs.replace(line, **names)


def _nick(nick: str) -> str:
    """Some logs pad nicks with blanks, which user ids must not begin or end with."""
    return check_id(nick.strip(), "user")
