"""A log of the tests' own: commits when told to, refuses when told to. The real engines have the contract suite."""

import asyncio
from collections.abc import Sequence

from posthouse.storage.base import Append, Appended, IsWanted, Outcome, Refused, always


class FakeLog:
    """Numbers appends by conversation; `gate` holds commits back; `refusals` and `faults` are for the next ones."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.refusals: list[Refused] = []
        self.faults: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_wanted: IsWanted = always
        """What the last append may be asked."""
        self._heads: dict[str, int] = {}

    async def append(self, batch: Sequence[Append], is_wanted: IsWanted = always) -> list[Outcome]:
        self.is_wanted = is_wanted
        self.batches.append([append.client_id for append in batch])
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        if self.refusals:
            return [self.refusals.pop(0)] * len(batch)
        return [self._next(append.conv) for append in batch]

    def _next(self, conv: str) -> Appended:
        self._heads[conv] = self._heads.get(conv, 0) + 1
        return Appended(self._heads[conv], 1_700_000_000_000, self._heads[conv])
