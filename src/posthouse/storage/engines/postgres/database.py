"""`PostgresDatabase`: the port's `Database` on one PostgreSQL primary, wherever it may be after a failover.

Reads and writes have connections of their own. Every write commits synchronously and is settled when in doubt (see
`writer`); a read fails at once when the server is away, and finds it again by itself when it is back.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from posthouse.kit.clock import Clock
from posthouse.model.conversation import Conversation, Member
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import MemberCursor
from posthouse.storage.append import SHARDS
from posthouse.storage.base import (
    Append,
    Condition,
    CursorUpdate,
    FeedEntry,
    FeedPosition,
    Inbox,
    Outcome,
    Page,
    Refused,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageUnavailable,
    Summaries,
    User,
)
from posthouse.storage.engines.postgres import cursors, directory, feed, lists, reading
from posthouse.storage.engines.postgres.appending import append
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.errors import Collided, Lost, Unstorable, mapping
from posthouse.storage.engines.postgres.facts import load_facts
from posthouse.storage.engines.postgres.probing import Backend, live_backends, write_probe
from posthouse.storage.engines.postgres.schema import migrate
from posthouse.storage.engines.postgres.session import (
    READER_SETTINGS,
    WRITER_SETTINGS,
    Session,
    Settings,
    connect,
    place_of,
)
from posthouse.storage.engines.postgres.sessions import Sessions
from posthouse.storage.engines.postgres.writer import Work, Writer
from posthouse.storage.visible import page_of, within

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PostgresLimits:
    """How many connections there may be, and how long things may take. When all are used: wait, then refuse."""

    readers_max: int = 8
    writers_max: int = 4
    wait_timeout_s: float = 5.0
    read_timeout_s: float = 15.0
    write_timeout_s: float = 10.0
    probe_timeout_s: float = 5.0


class PostgresDatabase:
    """One PostgreSQL database. `dsn` may name several hosts, of which the primary is found: `postgresql://a,b/db`."""

    def __init__(self, dsn: str, clock: Clock, limits: PostgresLimits = PostgresLimits()) -> None:
        self._dsn = dsn
        self._where = place_of(dsn)
        self._limits = limits
        self._epoch = ""
        self._shards = SHARDS
        wait_s = limits.wait_timeout_s
        reader = partial(self._connect, READER_SETTINGS, limits.read_timeout_s)
        writer = partial(self._connect, WRITER_SETTINGS, None)
        self._readers = Sessions(reader, self._where, sessions_max=limits.readers_max, wait_timeout_s=wait_s)
        self._writers = Sessions(writer, self._where, sessions_max=limits.writers_max, wait_timeout_s=wait_s)
        probers = Sessions(writer, self._where, sessions_max=1, wait_timeout_s=limits.probe_timeout_s)
        self._writer = Writer(self._writers, clock, self._where, limits.write_timeout_s)
        self._prober = Writer(probers, clock, self._where, limits.probe_timeout_s)

    @property
    def epoch(self) -> str:
        return self._epoch

    async def open(self) -> None:
        """Connect, migrate the schema, load the epoch. Raises `StorageUnavailable` saying what to do."""
        session = await connect(self._dsn, WRITER_SETTINGS)
        try:
            with mapping(self._where):
                await migrate(session.connection, SHARDS, self._where)
        except Unstorable as error:
            raise StorageUnavailable(f"the schema cannot be brought up to date. {error}") from error
        finally:
            session.drop()
        async with self._readers.use():
            pass  # one connection stands ready; making it has loaded the epoch

    async def close(self) -> None:
        await self._prober.close()
        await self._writer.close()
        self._readers.close()

    async def probe(self) -> Condition:
        """Find out by doing. Also the occasion to let go of commits whose server is no longer there."""
        try:
            alive = await self._read(live_backends)
        except StorageError as error:
            self._let_go(set())
            return Condition(False, False, str(error))
        self._let_go(alive)
        try:
            await self._prober.run(write_probe)
        except StorageError as error:
            return Condition(True, False, str(error))
        return Condition(True, True)

    def statistics(self) -> dict[str, int]:
        """Counts since the start: connections made, callers refused because all were busy, transactions done again,
        and those of them whose outcome was in doubt."""
        pools = (self._readers, self._writers)
        return {
            "connects": sum(pool.connects for pool in pools),
            "refused_busy": sum(pool.refused for pool in pools),
            "retried": self._writer.retried,
            "doubted": self._writer.doubted,
        }

    # Log ----------------------------------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append]) -> list[Outcome]:
        try:
            return await self._writer.run(partial(append, batch=batch, shards=self._shards)) if batch else []
        except (Unstorable, Collided) as error:
            if len(batch) == 1:
                return [_refusal(error)]
        except StorageError as error:
            return [_refusal(error)] * len(batch)
        return await self._append_halves(batch)

    async def _append_halves(self, batch: Sequence[Append]) -> list[Outcome]:
        """Find the append that spoils the batch, so that it harms only itself."""
        half = len(batch) // 2
        first = await self.append(batch[:half])
        unsettled = next(
            (each for each in first if isinstance(each, Refused) and each.code in _RETRYABLE), None
        )
        if unsettled is not None:  # what follows must not overtake it
            return [*first, *[unsettled] * (len(batch) - half)]
        return [*first, *await self.append(batch[half:])]

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
        view = await self._read(lambda connection: reading.view(connection, app, conv, user))
        if isinstance(view, Refused):
            return view
        asked, rising = within(view.spans, after, before), after is not None
        wanted = (app, conv, asked, rising, limit, bytes_max)
        entries = await self._read(lambda connection: reading.entries(connection, *wanted)) if asked else []
        return page_of(view, asked, entries, rising)

    async def conversation(self, app: str, conv: str) -> Conversation | None:
        return await self._read(lambda connection: reading.conversation(connection, app, conv))

    async def members(self, app: str, conv: str, *, after: str = "", limit: int = 1_000) -> list[Member]:
        return await self._read(lambda connection: reading.members(connection, app, conv, after, limit))

    async def member(self, app: str, conv: str, user: str) -> Member | None:
        return await self._read(lambda connection: reading.member(connection, app, conv, user))

    async def inboxes(self, app: str, users: Sequence[str]) -> list[Inbox]:
        return await self._read(lambda connection: lists.inboxes(connection, app, users))

    async def heads(self, app: str, convs: Sequence[str]) -> dict[str, int]:
        return await self._read(lambda connection: lists.heads(connection, app, convs))

    async def summaries(self, app: str, user: str, *, page: str = "", limit: int = 500) -> Summaries:
        return await self._read(lambda connection: lists.summaries(connection, app, user, page, limit))

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        if not updates:
            return []
        return await self._write(lambda connection: cursors.advance(connection, updates))

    async def cursors(self, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
        return await self._read(lambda connection: cursors.cursors(connection, app, conv, users))

    # Feed ---------------------------------------------------------------------------------------------------------

    async def tail(self, after: FeedPosition, limit: int, kinds: Sequence[str] = ()) -> list[FeedEntry]:
        return await self._read(lambda connection: feed.tail(connection, after, limit, kinds))

    async def changed(self, after: FeedPosition, until: FeedPosition) -> dict[tuple[str, str], int]:
        return await self._read(lambda connection: feed.changed(connection, after, until))

    async def end(self) -> FeedPosition:
        return await self._read(feed.end)

    async def position(self, reader: str) -> FeedPosition:
        return await self._read(lambda connection: feed.position(connection, reader))

    async def store_position(self, reader: str, position: FeedPosition) -> None:
        await self._write(lambda connection: feed.store_position(connection, reader, position))

    # Directory ----------------------------------------------------------------------------------------------------

    async def put_user(self, app: str, user: User) -> User:
        return await self._write(lambda connection: directory.put_user(connection, app, user, self._shards))

    async def users(self, app: str, users: Sequence[str]) -> list[User]:
        return await self._read(lambda connection: directory.users(connection, app, users))

    async def blocked(self, app: str) -> list[str]:
        return await self._read(lambda connection: directory.blocked(connection, app))

    # --------------------------------------------------------------------------------------------------------------

    async def _connect(self, settings: Settings, command_timeout_s: float | None) -> Session:
        """A session on the primary of the moment, whose facts replace those of the one before."""
        session = await connect(self._dsn, settings, command_timeout_s)
        try:
            facts = await load_facts(session.connection, self._where)
            self._epoch, self._shards = facts.epoch, facts.shards
        except BaseException:
            session.drop()
            raise
        return session

    async def _read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await self._read_once(work)
        except Lost:  # perhaps an idle connection to a server that has been restarted since
            return await self._read_once(work)

    async def _read_once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._readers.use() as session:
            return await work(session.connection)

    async def _write(self, work: Work[T]) -> T:
        try:
            return await self._writer.run(work)
        except (Unstorable, StorageCorrupt) as error:
            raise StorageUnavailable(str(error)) from error

    def _let_go(self, alive: set[Backend]) -> None:
        self._writer.drop_abandoned(alive)
        self._prober.drop_abandoned(alive)


_RETRYABLE = (Code.UNAVAILABLE, Code.STORAGE_FULL)


def _refusal(error: StorageError) -> Refused:
    """Of a damaged database as well: whether a send is in the log cannot be told."""
    if isinstance(error, Unstorable):
        return Refused(Code.INVALID_REQUEST, f"the database does not take this entry: {error}")
    return Refused(Code.STORAGE_FULL if isinstance(error, StorageFull) else Code.UNAVAILABLE, str(error))
