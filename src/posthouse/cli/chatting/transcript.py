"""What a conversation's window shows, from the oldest line that may still change to the newest. Pure.

Own lines change until everyone has read them, so they wait in the `tail`, which a terminal can repaint; `settle`
hands over what is printed for good. Entries arrive in the order of their log; an entry is shown once.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from posthouse.cli import entries, printable
from posthouse.cli.times import day
from posthouse.model.entry import Entry
from posthouse.protocol.frames import MemberCursor


class Mark(Enum):
    """How far an own line has come."""

    NONE = ""
    WAITING = "…"
    SENT = "✓"
    DELIVERED = "✓✓"
    READ = "✓✓ read"


class Line(NamedTuple):
    """Something shown. `who` is empty for a notice. `client_id` names an own line until it is in the log."""

    texts: tuple[str, ...]
    who: str = ""
    at_ms: int = 0
    seq: int = 0
    own: bool = False
    client_id: str = ""
    mentions_me: bool = False
    aside: bool = False
    """A remark of the program, no part of the conversation."""


class Transcript:
    """One conversation's lines for the user `me`. `others`: the members whose cursors decide the marks."""

    def __init__(self, me: str, others: Iterable[MemberCursor] = ()) -> None:
        self.me = me
        self.others = {each.user: each for each in others}
        self.tail: list[Line] = []
        self.waiting: dict[str, Line] = {}
        """Own lines that are not in the log yet, by client_id, in the order typed."""
        self.last_seq = 0
        self._day = ""

    def entry(self, entry: Entry) -> bool:
        """Take the next entry of the log. False when it was shown before."""
        if entry.seq <= self.last_seq:
            return False
        self.last_seq = entry.seq
        self._begin_day(entry.at_ms)
        if entry.sender == self.me and entry.client_id:
            self.waiting.pop(entry.client_id, None)
        self._follow_members(entry)
        self.tail.append(self.line_of(entry))
        return True

    def insert(self, older: Iterable[Entry]) -> None:
        """Show older entries again, in a block of their own."""
        lines = [self.line_of(entry) for entry in older]
        if lines:
            self.tail += [Line((f"earlier: {day(lines[0].at_ms)}",)), *lines, Line(("and now",))]

    def line_of(self, entry: Entry) -> Line:
        """An entry as a line."""
        said = not entries.is_notice(entry)
        return Line(
            tuple(entries.lines_of(entry)),
            who=printable.line(entry.sender) if said else "",
            at_ms=entry.at_ms,
            seq=entry.seq,
            own=said and entry.sender == self.me,
            mentions_me=self.me in entry.mentions,
        )

    def typed(self, client_id: str, text: str, at_ms: int) -> None:
        """The user wrote something that is on its way."""
        line = Line(tuple(printable.lines(text)), self.me, at_ms, own=True, client_id=client_id)
        self.waiting[client_id] = line

    def refused(self, client_id: str, reason: str) -> bool:
        """It will never be in the log: say so, and what it was. False when it was not typed here."""
        line = self.waiting.pop(client_id, None)
        if line is not None:
            self.remark(f"not sent: {printable.line(reason)}", *line.texts)
        return line is not None

    def remark(self, *texts: str) -> None:
        """Something that the program itself has to say."""
        self.tail.append(Line(texts, aside=True))

    def moved(self, cursors: Iterable[MemberCursor]) -> None:
        """Other members have received or read further."""
        for cursor in cursors:
            if cursor.user != self.me:
                old = self.others.get(cursor.user, MemberCursor(cursor.user))
                self.others[cursor.user] = MemberCursor(
                    cursor.user, max(old.read, cursor.read), max(old.delivered, cursor.delivered, cursor.read)
                )

    def mark(self, line: Line) -> Mark:
        """How far a line has come; only own lines have a mark."""
        if not line.own:
            return Mark.NONE
        if not line.seq:
            return Mark.WAITING
        if self.others and all(each.read >= line.seq for each in self.others.values()):
            return Mark.READ
        if self.others and all(each.delivered >= line.seq for each in self.others.values()):
            return Mark.DELIVERED
        return Mark.SENT

    def settled(self, rows_max: int, rows_of: Callable[[Line], int]) -> int:
        """How many lines of the tail cannot change any more, or do not fit into `rows_max` rows."""
        rows = sum(map(rows_of, self.tail))
        for number, line in enumerate(self.tail):
            if self._may_change(line) and rows <= rows_max:
                return number
            rows -= rows_of(line)
        return len(self.tail)

    def settle(self, rows_max: int, rows_of: Callable[[Line], int]) -> list[Line]:
        """Take those lines from the tail."""
        number = self.settled(rows_max, rows_of)
        lines, self.tail = self.tail[:number], self.tail[number:]
        return lines

    def _may_change(self, line: Line) -> bool:
        return bool(self.others) and self.mark(line) in (Mark.SENT, Mark.DELIVERED)

    def _begin_day(self, at_ms: int) -> None:
        today = day(at_ms)
        if today != self._day:
            self._day = today
            self.tail.append(Line((today,)))

    def _follow_members(self, entry: Entry) -> None:
        joined, left = entries.membership(entry)
        for user in joined:
            if user != self.me:
                self.others.setdefault(user, MemberCursor(user))
        for user in left:
            self.others.pop(user, None)
