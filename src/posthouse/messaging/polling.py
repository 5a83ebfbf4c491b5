"""The slower path: while hints cannot be trusted, a gateway asks the feed itself for what is new.

One poller for each database. Nothing is lost when it begins late: first it takes its place in the feed, then the rooms
read their heads, and from there on everything is asked for. As long as that is little, one question brings the entries
themselves; when it is much, only how far logs go is asked for, and each room that lacks something reads it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from posthouse.kit.clock import Clock
from posthouse.messaging.hearing import Hearing
from posthouse.messaging.publish import Heads
from posthouse.storage.base import Feed, FeedEntry, FeedPosition, StorageError

ENTRIES_MAX: Final = 500
"""More than so many at once, bodies and all, would be read by every node for the few that concern it."""


class Poller:
    """`recheck` has the rooms of this database read their heads; `deliver` is given new entries, `tell` hears of the
    newest seqs of logs that changed."""

    INTERVAL_S: Final = 0.3

    def __init__(
        self,
        feed: Feed,
        hearing: Hearing,
        recheck: Callable[[], Awaitable[None]],
        deliver: Callable[[Sequence[FeedEntry]], None],
        tell: Callable[[Heads], None],
        clock: Clock,
    ) -> None:
        self._feed = feed
        self._hearing = hearing
        self._recheck = recheck
        self._deliver = deliver
        self._tell = tell
        self._clock = clock
        self._doubt = asyncio.Event()
        self._doubt.set()
        self.active = False
        self.rounds = 0

    def wake(self) -> None:
        """Hints may be lost: begin at once."""
        self._doubt.set()

    async def run(self) -> None:
        """Poll whenever hints cannot be trusted, for ever. A database that is away is asked again."""
        while True:
            await self._doubt.wait()
            self.active = True
            try:
                await self._poll()
                self.active = False
            except StorageError:  # then all over again: nothing is left out
                self._doubt.set()
                await self._clock.sleep(self.INTERVAL_S)

    async def _poll(self) -> None:
        """From the feed's end of now on, until hints are trusted; once more after that."""
        self._doubt.clear()
        position = await self._feed.end()
        await self._recheck()
        trusted = False
        while not trusted:
            self._doubt.clear()
            trusted = self._hearing.trusted
            position = await self._pass_on(position)
            self.rounds += 1
            if not trusted:
                await self._clock.sleep(self.INTERVAL_S)

    async def _pass_on(self, position: FeedPosition) -> FeedPosition:
        """What lies beyond a position; returns up to where."""
        entries = await self._feed.tail(position, ENTRIES_MAX)
        if len(entries) < ENTRIES_MAX:
            self._deliver(entries)
            return entries[-1].position if entries else position
        until = await self._feed.end()
        self._tell(_by_app(await self._feed.changed(position, until)))
        return until


def _by_app(changed: dict[tuple[str, str], int]) -> Heads:
    heads: Heads = {}
    for (app, conv), seq in changed.items():
        heads.setdefault(app, {})[conv] = seq
    return heads
