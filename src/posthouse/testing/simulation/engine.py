"""One node's way to a simulated database: the storage port over the network, with answers that are late or never come.

A write whose answer is missing is in doubt: it is done again until one comes, as every engine must, for appends name
what they append.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from posthouse.kit.backoff import Backoff
from posthouse.model.conversation import Conversation, Member
from posthouse.model.ids import account_id
from posthouse.protocol.frames import MemberCursor
from posthouse.storage.base import (
    FEED_START,
    Append,
    Charter,
    Condition,
    CursorUpdate,
    FeedEntry,
    FeedPosition,
    Inbox,
    IsWanted,
    Listed,
    Moved,
    Outcome,
    Page,
    Refused,
    StorageUnavailable,
    User,
    UserConv,
    always,
    as_refusal,
)
from posthouse.storage.marks import TOP, Mark
from posthouse.storage.rows import LogKey
from posthouse.testing.simulation.database import Database
from posthouse.testing.simulation.network import Host, Unreachable
from posthouse.testing.simulation.tables import Tables

T = TypeVar("T")

READ_TIMEOUT_S = 2.0
WRITE_TIMEOUT_S = 10.0
ATTEMPT_TIMEOUT_S = 4.0
NUMBER_MAX = 2**31 - 1


class SimulatedEngine:
    """The port's `Database`, as one node sees it."""

    def __init__(self, database: Database, host: Host) -> None:
        self._database = database
        self._host = host
        self._backoff = Backoff(first_s=0.05, longest_s=1.0)

    @property
    def epoch(self) -> str:
        return self._database.epoch

    async def open(self) -> None:
        await self._query(lambda tables: None)

    async def close(self) -> None:
        """Nothing is held."""

    async def probe(self) -> Condition:
        try:
            await self._query(lambda tables: None)
        except StorageUnavailable as error:
            return Condition(False, False, str(error))
        try:
            await self._write(lambda: self._database.commit(lambda tables: None), 2.0)
        except StorageUnavailable as error:
            return Condition(True, False, str(error))
        return Condition(True, True)

    # Log ----------------------------------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append], is_wanted: IsWanted = always) -> list[Outcome]:
        if not batch:
            return []

        def is_still_wanted() -> bool:
            """The transaction of a node that stands still is undone by the server."""
            return not self._host.frozen and is_wanted()

        try:
            return await self._write(lambda: self._database.append(batch, is_still_wanted))
        except StorageUnavailable as error:
            return [as_refusal(error)] * len(batch)

    async def read(
        self,
        app: str,
        conv: str,
        user: str | None,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int,
        bytes_max: int = 1 << 20,
    ) -> Page | Refused:
        span = (after, before, limit, bytes_max)
        return await self._query(lambda tables: tables.read(app, conv, user, *span), [(app, conv)])

    async def conversation(self, app: str, conv: str) -> Conversation | None:
        return await self._query(lambda tables: tables.conversation(app, conv), [(app, conv)])

    async def members(self, app: str, conv: str, *, after: str = "", limit: int = 1_000) -> list[Member]:
        return await self._query(lambda tables: tables.members(app, conv, after, limit), [(app, conv)])

    async def member(self, app: str, conv: str, user: str) -> Member | None:
        return await self._query(lambda tables: tables.member(app, conv, user), [(app, conv)])

    async def inboxes(self, app: str, users: Sequence[str]) -> Sequence[Inbox]:
        return await self._query(
            lambda tables: [tables.inbox_of(app, user) for user in users],
            [(app, account_id(user)) for user in users],
        )

    async def memberships(self, app: str, pairs: Sequence[UserConv]) -> Sequence[int]:
        return await self._query(
            lambda tables: [tables.member_since(app, user, conv) for user, conv in pairs],
            [(app, conv) for _, conv in pairs],
        )

    async def heads(self, app: str, convs: Sequence[str]) -> dict[str, int]:
        return await self._query(lambda tables: tables.heads(app, convs), [(app, conv) for conv in convs])

    async def summaries(
        self, app: str, user: str, convs: Sequence[str], *, below: Mark = TOP, limit: int = 500
    ) -> list[Listed]:
        return await self._query(
            lambda tables: tables.summaries(app, user, convs, below, limit), [(app, conv) for conv in convs]
        )

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        return await self._write(lambda: self._database.advance(updates))

    async def cursors(self, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
        return await self._query(lambda tables: tables.cursors(app, conv, users), [(app, conv)])

    # Feed ---------------------------------------------------------------------------------------------------------

    async def tail(self, after: FeedPosition, limit: int, kinds: Sequence[str] = ()) -> list[FeedEntry]:
        return await self._query(lambda tables: tables.tail(after, self._database.below, limit, kinds))

    async def changed(self, after: FeedPosition, until: FeedPosition) -> dict[tuple[str, str], int]:
        return await self._query(lambda tables: tables.changed(after, until))

    async def end(self) -> FeedPosition:
        return await self._query(lambda tables: FeedPosition(self._database.below - 1, NUMBER_MAX))

    async def position(self, reader: str) -> FeedPosition:
        return await self._query(lambda tables: tables.readers.get(reader, FEED_START))

    async def store_position(self, reader: str, position: FeedPosition) -> None:
        await self._write(lambda: self._database.store_position(reader, position))

    # Directory ----------------------------------------------------------------------------------------------------

    async def put_user(self, app: str, user: User) -> User:
        stored = replace(user, updated_ms=self._database.clock.now_ms())
        await self._write(lambda: self._database.put_user(app, stored))
        return stored

    async def users(self, app: str, users: Sequence[str]) -> list[User]:
        return await self._query(
            lambda tables: [tables.people[app, user] for user in users if (app, user) in tables.people]
        )

    async def blocked(self, app: str) -> list[str]:
        return await self._query(
            lambda tables: [user for (of, user), one in tables.people.items() if of == app and one.blocked]
        )

    async def charter(self) -> Charter:
        return await self._query(lambda tables: tables.charter._replace(empty=not tables.logs))

    async def learn(self, charter: Charter) -> None:
        await self._write(lambda: self._database.learn(charter))

    # --------------------------------------------------------------------------------------------------------------

    async def _query(self, query: Callable[[Tables], T], logs: Sequence[LogKey] = ()) -> T:
        """Ask the primary. Raises `Moved` when one of `logs` is not its own."""
        database = self._database

        def ask() -> T:
            if database.recovering:
                raise Unreachable(f"{database.primary} recovers")
            if not database.tables.owns(database.name, logs):
                raise Moved(f"{database.name} does not own all of {logs}")
            return query(database.tables)

        try:
            return await database.network.ask_within(READ_TIMEOUT_S, self._host, database.primary, ask)
        except Unreachable as error:
            raise StorageUnavailable(str(error)) from None

    async def _write(
        self, work: Callable[[], Coroutine[Any, Any, T]], timeout_s: float = WRITE_TIMEOUT_S
    ) -> T:
        """Do it, again and again, until it is certain."""
        clock = self._host.clock
        began, attempt = clock.monotonic(), 0
        while True:
            attempt += 1
            try:
                return await self._call(ATTEMPT_TIMEOUT_S, work)
            except Unreachable as error:
                why = str(error)
            await clock.sleep(self._backoff.delay_s(attempt, 1.0))
            if clock.monotonic() - began >= timeout_s:  # also of a host that was frozen all the while
                raise StorageUnavailable(why)

    async def _call(self, timeout_s: float, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        network = self._database.network
        return await network.call_within(timeout_s, self._host, self._database.primary, work)
