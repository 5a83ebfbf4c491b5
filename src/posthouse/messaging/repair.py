"""Repair, a reader of the feed: tells gateways the newest seq of logs that changed, so that lost hints heal (G4).

One node at a time runs it for each database, under a lease; two at once do no harm. Where it has got to is kept in the
database, so that whoever takes over begins where the other was.
"""

from typing import Final

from posthouse.bus.base import BusUnavailable
from posthouse.kit.clock import Clock
from posthouse.messaging.notes import CoveredNote
from posthouse.messaging.publish import Heads, Publisher
from posthouse.storage.base import FEED_START, Feed, FeedPosition

OWED_LOGS_MAX = 100_000


class Repair:
    """Tells what changed in a database's feed a moment after it did, and each time from where to where it has told.

    What a live gateway could not be told is owed to it and told again."""

    NAME: Final = "repair"
    LAG_S: Final = 1.0

    def __init__(self, feed: Feed, publisher: Publisher, clock: Clock, database: str = "") -> None:
        self._database = database
        self._feed = feed
        self._publisher = publisher
        self._clock = clock
        self._owed: dict[str, Heads] = {}
        self.told = 0
        self.retold = 0

    async def prepare(self) -> None:
        """Before this node serves anybody: where the very first run begins is where the feed stands now, not when
        somebody comes to run it. Raises `StorageError`."""
        await self._begin()

    async def run(self) -> None:
        """Each second, tell of what was committed up to a second ago. Raises when it cannot go on; the next run begins
        at a place up to which everybody was told."""
        self._owed = {}
        position = await self._begin()
        while True:
            until = await self._feed.end()
            await self._clock.sleep(self.LAG_S)
            moved = position < until or bool(self._owed)
            await self._settle_debts()
            await self._tell(position, until)
            position = until
            if moved and not self._owed:
                await self._feed.store_position(self.NAME, position)

    async def _begin(self) -> FeedPosition:
        """The first time of all, at the feed's end: sessions that come later read the log themselves."""
        position = await self._feed.position(self.NAME)
        if position == FEED_START:
            position = await self._feed.end()
            await self._feed.store_position(self.NAME, position)
        return position

    async def _tell(self, position: FeedPosition, until: FeedPosition) -> None:
        newest: Heads = {}
        changed = await self._feed.changed(position, until) if position < until else {}
        for (app, conv), seq in changed.items():
            newest.setdefault(app, {})[conv] = seq
        covered = CoveredNote(self._database, position, until)
        for gateway, heads in (await self._publisher.heads(newest, covered=covered)).items():
            self._owe(gateway, heads)
        self.told += _count(newest)

    async def _settle_debts(self) -> None:
        owed, self._owed = self._owed, {}
        for gateway, heads in owed.items():
            self.retold += _count(heads)
            for still, untold in (await self._publisher.heads(heads, [gateway])).items():
                self._owe(still, untold)

    def _owe(self, gateway: str, heads: Heads) -> None:
        own = self._owed.setdefault(gateway, {})
        for app, convs in heads.items():
            own.setdefault(app, {}).update(convs)
        if _count(own) > OWED_LOGS_MAX:
            raise BusUnavailable(f"{gateway} has not taken the heads of {_count(own)} logs")


def _count(heads: Heads) -> int:
    return sum(map(len, heads.values()))
