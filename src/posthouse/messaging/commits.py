"""The ways into several databases, one group commit each, behind one door.

A log's entries go through one of them at a time: while any of its sends is under way the next ones follow it, also when
the log's shard moves meanwhile, so that nothing overtakes (G3).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from posthouse.cache.base import LogKey
from posthouse.kit.clock import Clock
from posthouse.messaging.commit import GroupCommit, Settle
from posthouse.messaging.lane import Lane
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Outcome, Refused

MOVED_RETRIES_MAX = 5
MOVED_RETRY_S = 0.05
"""Before the first retry, and twice as long before each further one: 1.5 s in all, longer than a move takes."""


class Commit(Protocol):
    """What sends and the REST API ask: one group commit, or several behind a door."""

    def submit(
        self, append: Append, settle: Settle, lane: Lane | None = None, number: int = 0, origin: str = ""
    ) -> None:
        """Queue one send; `settle` is called once with its outcome, in the loop."""

    async def append(self, append: Append) -> Outcome:
        """Queue one entry and wait for its outcome."""

    async def drained(self) -> None:
        """Return when nothing waits and nothing is in flight."""


class _Way:
    """The group commit that a log uses while any of its sends is under way."""

    __slots__ = ("commit", "under_way")

    def __init__(self, commit: GroupCommit) -> None:
        self.commit = commit
        self.under_way = 0


class Commits:
    """`owner(app, log)` names the database where a log lies now."""

    def __init__(
        self, commits: Mapping[str, GroupCommit], owner: Callable[[str, str], str], clock: Clock
    ) -> None:
        self._commits = commits
        self._owner = owner
        self._clock = clock
        self._ways: dict[LogKey, _Way] = {}

    def submit(
        self, append: Append, settle: Settle, lane: Lane | None = None, number: int = 0, origin: str = ""
    ) -> None:
        """As `GroupCommit.submit`."""
        key = append.app, append.conv
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = _Way(self._commits[self._owner(*key)])
        way.under_way += 1

        def settled(done: Append, outcome: Outcome) -> None:
            way.under_way -= 1
            if not way.under_way:
                del self._ways[key]
            settle(done, outcome)

        way.commit.submit(append, settled, lane, number, origin)

    async def append(self, append: Append) -> Outcome:
        """As `GroupCommit.append`. While its log is being moved it is tried again: nobody else repeats it."""
        outcome = await self._append(append)
        for attempt in range(MOVED_RETRIES_MAX):
            if not isinstance(outcome, Refused) or outcome.code != Code.MOVED:
                break
            await self._clock.sleep(MOVED_RETRY_S * 2**attempt)
            outcome = await self._append(append)
        return outcome

    async def _append(self, append: Append) -> Outcome:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(_: Append, outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self.submit(append, settle)
        return await future

    async def drained(self) -> None:
        """Return when nothing waits and nothing is in flight anywhere."""
        for commit in self._commits.values():
            await commit.drained()
