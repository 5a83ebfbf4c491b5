"""The user's conversations as a chat knows them: names, numbers to go to, and what is unread in each. Pure."""

from collections.abc import Iterable

from posthouse.cli import printable
from posthouse.cli.listing import name_of, said
from posthouse.protocol.frames import Summary

LISTED_MAX = 50
UNREAD_NAMED_MAX = 3


class Overview:
    """Fed by the server's list, and by what is shown and counted here meanwhile."""

    def __init__(self) -> None:
        self._summaries: dict[str, Summary] = {}
        self._shown: dict[str, int] = {}
        self._unread: dict[str, int] = {}
        self._listed: list[str] = []

    def learn(self, summaries: Iterable[Summary]) -> None:
        """Take the server's list; what was shown here is read, also when the server has not heard of it yet."""
        self._summaries = {summary.conv: summary for summary in summaries}
        self._unread = {
            conv: summary.unread if self._shown.get(conv, 0) < summary.head else 0
            for conv, summary in self._summaries.items()
        }

    def show(self, conv: str, seq: int) -> None:
        """The user has seen everything up to `seq`."""
        self._shown[conv] = seq
        self._unread.pop(conv, None)

    def count(self, conv: str, unread: int) -> None:
        """So many messages are unread now."""
        self._unread[conv] = unread

    def knows(self, conv: str) -> bool:
        """Whether the conversation was in the server's list."""
        return conv in self._summaries

    def members(self, conv: str) -> int:
        """How many members there are; 0 when that is not known."""
        return self._summaries[conv].members if conv in self._summaries else 0

    def name(self, conv: str) -> str:
        """What a person calls the conversation."""
        return name_of(self._summaries[conv]) if conv in self._summaries else printable.line(conv)

    def unread(self, but: str) -> str:
        """`2 in Tea, 1 in @carol`; of the conversation `but` nothing is said."""
        counts = [
            f"{count} in {self.name(conv)}" for conv, count in self._unread.items() if count and conv != but
        ]
        more = len(counts) - UNREAD_NAMED_MAX
        return ", ".join(counts[:UNREAD_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")

    def rows(self) -> list[tuple[str, ...]]:
        """Number, name, what is unread, last entry of each: the numbers hold until the next call."""
        self._listed = list(self._summaries)[:LISTED_MAX]
        return [self._row(number, conv) for number, conv in enumerate(self._listed, 1)]

    def find(self, where: str) -> str | None:
        """The conversation meant by a number of `rows`, an id, a title or a user's name, if there is one."""
        if where.isdecimal() and 1 <= int(where) <= len(self._listed):
            return self._listed[int(where) - 1]
        names = {where, f"@{where}"}
        return next((conv for conv in self._summaries if conv == where or self.name(conv) in names), None)

    def _row(self, number: int, conv: str) -> tuple[str, ...]:
        unread = self._unread.get(conv, 0)
        last = self._summaries[conv].last
        return (
            str(number),
            self.name(conv),
            f"{unread} unread" if unread else "",
            said(last) if last is not None else "",
        )
