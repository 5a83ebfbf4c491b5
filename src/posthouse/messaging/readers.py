"""The roster, a reader of the feed: turns membership entries into account-log entries, even if the node that wrote
them dies at once. It may run on several nodes and read an entry twice: what it does is idempotent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import Final

import msgspec

from posthouse.cache.base import LogKey
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import start, wait_event
from posthouse.messaging.bodies import AccountBody, users_of
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, CREATED, MEMBER_JOINED, MEMBER_LEFT, Entry
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Action, action_of
from posthouse.storage.base import (
    Append,
    Feed,
    FeedEntry,
    InboxChange,
    Outcome,
    Refused,
    StorageUnavailable,
)

_log = logger(__name__)

ROSTER_KINDS: Final = (CREATED, MEMBER_JOINED, MEMBER_LEFT)
PAGE_ENTRIES_MAX = 100
APPENDS_MAX = 500
"""Account entries under way at once. One membership entry may cause a thousand; clients' sends find room between."""
POLL_INTERVAL_S = 1.0
APPEND_TIMEOUT_S = 3.0
"""A database that has not answered for so long is asked again later; its answer may still come, and repeats nothing."""
STORE_INTERVAL_S = 2.0
"""Between two notes of how far it has read. After a crash it reads the rest again, which does nothing twice."""
OWED_ENTRIES_MAX = 10_000
"""Beyond it the reader begins again where nothing was owed yet, after a pause."""


class Roster:
    """Keeps each user's account log and inbox in step with the memberships in conversations of one database.

    Accounts may lie in other databases. Entries for one that is away are owed to it, and keep nobody else's waiting.
    """

    NAME: Final = "roster"

    def __init__(self, feed: Feed, append: Callable[[Append], Awaitable[Outcome]], clock: Clock) -> None:
        self._feed = feed
        self._append = append
        self._clock = clock
        self._wake = asyncio.Event()
        self._owed: dict[LogKey, list[Append]] = {}
        self.applied = 0
        self.refused = 0

    def wake(self) -> None:
        """A membership entry was committed here: read at once instead of at the next poll."""
        self._wake.set()

    @property
    def owed(self) -> int:
        """Account entries that could not be written yet."""
        return sum(map(len, self._owed.values()))

    async def run(self) -> None:
        """Read for ever, from where the database says. Raises when it cannot go on; what was done is done once."""
        self._owed = {}
        stored = position = await self._feed.position(self.NAME)
        stored_at = -STORE_INTERVAL_S
        while True:
            self._wake.clear()
            end = await self._feed.end()
            owed, self._owed = self._owed, {}
            await self._apply(append for appends in owed.values() for append in appends)
            while items := await self._feed.tail(position, PAGE_ENTRIES_MAX, ROSTER_KINDS):
                await self._apply(append for item in items for append in account_appends(item))
                position = items[-1].position
            position = max(position, end)  # nothing is left to read up to there: it may be cleared away
            now = self._clock.monotonic()
            if stored < position and not self._owed and now - stored_at >= STORE_INTERVAL_S:
                await self._feed.store_position(self.NAME, position)
                stored, stored_at = position, now
            await wait_event(self._wake, POLL_INTERVAL_S, self._clock)

    async def _apply(self, appends: Iterable[Append]) -> None:
        left = iter(appends)
        while some := list(islice(left, APPENDS_MAX)):
            while some:
                now, some = self._next(some)
                tasks = [start(_written(self._append(append))) for append in now]
                if tasks:
                    await asyncio.wait(tasks, timeout=APPEND_TIMEOUT_S)
                for append, task in zip(now, tasks, strict=True):
                    self._settle(append, task.result() if task.done() else None)
                    task.cancel()  # no more than the wait: what is on its way to a database is not taken back
        if self.owed > OWED_ENTRIES_MAX:
            raise StorageUnavailable(f"{self.owed} account entries cannot be written now")

    def _next(self, some: Iterable[Append]) -> tuple[list[Append], list[Append]]:
        """What may be written now, and what must wait for it: of a user's comings to and goings from one conversation
        one at a time, lest the first be refused for now and the second not."""
        now: dict[tuple[LogKey, str], Append] = {}
        later: list[Append] = []
        for append in some:
            key = (append.app, append.conv), _conversation(append)
            if key in now:
                later.append(append)
            elif not self._owes(append):
                now[key] = append
        return list(now.values()), later

    def _owes(self, append: Append) -> bool:
        """Of one account, what comes later waits for what could not be written."""
        earlier = self._owed.get((append.app, append.conv))
        if earlier is None:
            return False
        earlier.append(append)
        return True

    def _settle(self, append: Append, outcome: Outcome | None) -> None:
        if outcome is None or (isinstance(outcome, Refused) and action_of(outcome.code) is Action.RETRY):
            self._owed.setdefault((append.app, append.conv), []).append(append)
        elif not isinstance(outcome, Refused):
            self.applied += 1
        else:  # never to succeed: it must not keep everybody's later entries waiting
            self.refused += 1
            _log.error("an account entry was refused for good", log=append.conv, reason=outcome.reason)


async def _written(writing: Awaitable[Outcome]) -> Outcome:
    return await writing


def _conversation(append: Append) -> str:
    """The one that an account entry is about."""
    assert isinstance(append.change, InboxChange)
    return append.change.conv


def account_appends(item: FeedEntry) -> list[Append]:
    """The account-log entries that follow from one membership entry. Reading it again names the same ones."""
    return [_account_append(item.app, item.entry, user) for user in users_of(item.entry)]


def _account_append(app: str, entry: Entry, user: str) -> Append:
    left = entry.kind == MEMBER_LEFT
    change = InboxChange(entry.conv, 0, entry.seq) if left else InboxChange(entry.conv, entry.seq)
    return Append(
        app=app,
        conv=account_id(user),
        kind=ACCOUNT_LEFT if left else ACCOUNT_JOINED,
        client_id=f"{entry.seq}:{entry.conv}",
        made_at_ms=0,
        body=msgspec.json.encode(AccountBody(entry.conv, change.joined_seq, change.left_seq)),
        sender="",
        device="roster",
        change=change,
        trusted=True,
    )
