"""The roster, a reader of the feed: turns membership entries into account-log entries, even if the node that wrote
them dies at once. It may run on several nodes and read an entry twice: what it does is idempotent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

import msgspec

from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import wait_event
from posthouse.messaging.bodies import AccountBody, users_of
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, CREATED, MEMBER_JOINED, MEMBER_LEFT, Entry
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Action, action_of
from posthouse.storage.base import (
    Append,
    Feed,
    FeedEntry,
    FeedPosition,
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


class Roster:
    """Keeps each user's account log and inbox in step with the memberships in conversations."""

    NAME: Final = "roster"

    def __init__(self, feed: Feed, append: Callable[[Append], Awaitable[Outcome]], clock: Clock) -> None:
        self._feed = feed
        self._append = append
        self._clock = clock
        self._wake = asyncio.Event()
        self.applied = 0
        self.refused = 0

    def wake(self) -> None:
        """A membership entry was committed here: read at once instead of at the next poll."""
        self._wake.set()

    async def run(self) -> None:
        """Read for ever, from where the database says. Raises when it cannot go on; what was done is done once."""
        position = await self._feed.position(self.NAME)
        while True:
            self._wake.clear()
            position = await self._catch_up(position)
            await wait_event(self._wake, POLL_INTERVAL_S, self._clock)

    async def _catch_up(self, position: FeedPosition) -> FeedPosition:
        while items := await self._feed.tail(position, PAGE_ENTRIES_MAX, ROSTER_KINDS):
            appends = (append for item in items for append in account_appends(item))
            while some := list(islice(appends, APPENDS_MAX)):
                await self._apply(some)
            position = items[-1].position
            await self._feed.store_position(self.NAME, position)
        return position

    async def _apply(self, appends: Sequence[Append]) -> None:
        for append, outcome in zip(appends, await asyncio.gather(*map(self._append, appends)), strict=True):
            if not isinstance(outcome, Refused):
                self.applied += 1
            elif action_of(outcome.code) is Action.RETRY:
                raise StorageUnavailable(f"an account entry was refused: {outcome.reason}")
            else:  # never to succeed: it must not keep everybody's later entries waiting
                self.refused += 1
                _log.error("an account entry was refused for good", log=append.conv, reason=outcome.reason)


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
