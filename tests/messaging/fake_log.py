"""A log of the tests' own: commits when told to, refuses when told to. The real engines have the contract suite."""

import asyncio
from collections.abc import Sequence

from posthouse.storage.base import Append, Appended, Outcome, Refused


class FakeLog:
    """Numbers appends by conversation; `gate` holds commits back; `refusals` and `faults` are for the next ones."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.refusals: list[Refused] = []
        self.faults: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._heads: dict[str, int] = {}

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
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
