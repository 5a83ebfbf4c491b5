"""A feed of the tests' own: entries in the order they were added, and faults when told to."""

from collections.abc import Sequence

import msgspec

from posthouse.model.entry import CREATED, Entry
from posthouse.storage.base import FEED_START, FeedEntry, FeedPosition


def membership(conv: str, seq: int, kind: str = CREATED, users: Sequence[str] = ()) -> Entry:
    body = msgspec.Raw(msgspec.json.encode({"users": users}))
    return Entry(conv=conv, seq=seq, kind=kind, at_ms=1, ordinal=0, body=body)


class FakeFeed:
    """`faults` are raised by the next questions, whichever they are."""

    def __init__(self) -> None:
        self.entries: list[FeedEntry] = []
        self.positions: dict[str, FeedPosition] = {}
        self.faults: list[Exception] = []

    def add(self, entry: Entry, app: str = "app") -> None:
        self.entries.append(FeedEntry(FeedPosition(0, len(self.entries) + 1), app, entry))

    async def tail(self, after: FeedPosition, limit: int, kinds: Sequence[str] = ()) -> list[FeedEntry]:
        self._fail()
        return [
            each for each in self.entries if each.position > after and (not kinds or each.entry.kind in kinds)
        ][:limit]

    async def changed(self, after: FeedPosition, until: FeedPosition) -> dict[tuple[str, str], int]:
        self._fail()
        return {
            (each.app, each.entry.conv): each.entry.seq
            for each in self.entries
            if after < each.position <= until
        }

    async def end(self) -> FeedPosition:
        self._fail()
        return self.entries[-1].position if self.entries else FEED_START

    async def position(self, reader: str) -> FeedPosition:
        self._fail()
        return self.positions.get(reader, FEED_START)

    async def store_position(self, reader: str, position: FeedPosition) -> None:
        self._fail()
        self.positions[reader] = position

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)
