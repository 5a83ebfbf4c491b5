"""Whether the repair reader's word reaches this gateway whole: one of these for each database.

A bus may lose what it took without a word, the last hint of a log and the heads that would heal it alike. So each round
of repair says from where to where in the feed it has told, also when it had nothing to tell: a gap, or silence, is a
doubt, and this gateway asks the feed itself.
"""

from math import inf
from typing import Final

from posthouse.kit.clock import Clock
from posthouse.messaging.hearing import Hearing
from posthouse.messaging.notes import CoveredNote
from posthouse.storage.base import FeedPosition


class Coverage:
    """Hears each round's `CoveredNote`; `run` notices when none comes."""

    SILENT_S: Final = 5.0
    """Rounds come each second. After its node has died another one repairs in about as long."""

    LOOK_S: Final = 0.5

    def __init__(self, database: str, hearing: Hearing, clock: Clock) -> None:
        self._source = f"repair:{database} heard"
        self._hearing = hearing
        self._clock = clock
        self._until: FeedPosition | None = None
        self._silent_at = inf
        self.gaps = 0
        hearing.doubt(self._source, "the repair reader has not been heard of yet")

    def hear(self, note: CoveredNote) -> None:
        """Everything from one position of the feed to another has been told, before this note."""
        if self._until is not None and note.after > self._until:
            self.gaps += 1
            self._hearing.missed()
        self._until = note.until if self._until is None else max(note.until, self._until)
        self._silent_at = self._clock.monotonic() + self.SILENT_S
        self._hearing.trust(self._source)

    async def run(self) -> None:
        """Doubt when nothing is heard, for ever."""
        while True:
            await self._clock.sleep(self.LOOK_S)
            if self._clock.monotonic() >= self._silent_at:
                self._silent_at = inf  # said once, until something is heard
                self._hearing.doubt(self._source, "the repair reader is not heard of")
