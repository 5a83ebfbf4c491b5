"""`PostgresDatabase`: the port's `Database` on one PostgreSQL primary, wherever it may be after a failover.

Reads and writes have connections of their own. Every write commits synchronously and is settled when in doubt (see
`writer`); a read fails at once when the server is away, and finds it again by itself when it is back.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from posthouse.balance.named import policy
from posthouse.kit.clock import Clock
from posthouse.model.conversation import Conversation, Member
from posthouse.model.entry import Entry
from posthouse.model.ids import account_id, shard_of
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import MemberCursor
from posthouse.storage.append import SHARDS, Repeats, needs, refused_for_now
from posthouse.storage.base import (
    Append,
    Charter,
    Condition,
    CursorUpdate,
    FeedEntry,
    FeedPosition,
    Inbox,
    IsWanted,
    Listed,
    Outcome,
    Page,
    Refused,
    StorageCorrupt,
    StorageError,
    StorageUnavailable,
    Unwanted,
    User,
    UserConv,
    always,
    as_refusal,
)
from posthouse.storage.engines.postgres import cursors, directory, feed, lists, reading, trimming
from posthouse.storage.engines.postgres.appending import append
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.errors import Collided, Lost, Unstorable, mapping
from posthouse.storage.engines.postgres.facts import load_facts
from posthouse.storage.engines.postgres.hosts import Host, HostState, hosts_of, place_of
from posthouse.storage.engines.postgres.ownership import LogKey, Ownership, learn, name_database, opening
from posthouse.storage.engines.postgres.probing import Backend, live_backends, write_probe
from posthouse.storage.engines.postgres.replicas import Replicas, Wanted
from posthouse.storage.engines.postgres.schema import migrate
from posthouse.storage.engines.postgres.session import (
    READER_SETTINGS,
    WRITER_SETTINGS,
    Session,
    Settings,
    connect,
    drop_dead,
    dropped_when_late,
)
from posthouse.storage.engines.postgres.sessions import Sessions
from posthouse.storage.engines.postgres.watch import Watch
from posthouse.storage.engines.postgres.writer import Work, Writer
from posthouse.storage.marks import TOP, Mark
from posthouse.storage.visible import page_of, within

T = TypeVar("T")

MAIN = "main"
"""What a database is called that was alone at first."""


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

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        limits: PostgresLimits = PostgresLimits(),
        *,
        replicas: str = "",
        replica_policy: str = "two-choices",
        uniform: Callable[[], float] = lambda: 0.5,
        name: str = MAIN,
        alone: bool = True,
    ) -> None:
        """`name` is what the system calls this database; not `alone`, and reads make sure that it owns what they read.
        `replicas` names more hosts to read from, beside those of `dsn` that are standbys. `uniform` is the chance by
        which `replica_policy` chooses: a number in [0, 1)."""
        self._where = place_of(dsn)
        self._limits = limits
        self._epoch = self._reign = ""
        self._ownership = Ownership(name, verifying=not alone)
        self._repeats = Repeats()
        self._witness = 0
        self._watch = Watch(hosts_of(dsn), hosts_of(replicas) if replicas else (), clock)
        self._watch.on_switch = self._switch
        balancing = policy(replica_policy, "in-flight")
        self._replicas = Replicas(lambda: self._watch.states, balancing, clock, uniform)
        self._readers = self._pool(READER_SETTINGS, limits.read_timeout_s, limits.readers_max)
        self._writers = self._pool(WRITER_SETTINGS, None, limits.writers_max)
        self._prober_readers = self._pool(READER_SETTINGS, limits.probe_timeout_s, 1)
        self._prober_writers = self._pool(WRITER_SETTINGS, None, 1)
        self._pools = (self._readers, self._writers, self._prober_readers, self._prober_writers)
        self._writer = Writer(self._writers, clock, self._where, limits.write_timeout_s)
        self._prober = Writer(self._prober_writers, clock, self._where, limits.probe_timeout_s)
        self._watch.suspects = self._sessions

    def _pool(self, settings: Settings, command_timeout_s: float | None, sessions_max: int) -> Sessions:
        return Sessions(
            partial(self._connect, settings, command_timeout_s),
            self._where,
            sessions_max=sessions_max,
            wait_timeout_s=self._limits.wait_timeout_s,
            on_trouble=self._watch.doubt,
        )

    @property
    def epoch(self) -> str:
        return self._epoch

    async def open(self) -> None:
        """Connect, migrate the schema, load the epoch. Raises `StorageUnavailable` saying what to do."""
        await self._watch.start()
        session = await connect(self._watch.primary(), WRITER_SETTINGS)
        try:
            with mapping(self._where):
                await migrate(session.connection, SHARDS, self._where)
                await name_database(session.connection, self._ownership.name, self._where)
        except Unstorable as error:
            raise StorageUnavailable(f"the schema cannot be brought up to date. {error}") from error
        finally:
            session.drop()
        async with self._readers.use():
            pass  # one connection stands ready; making it has loaded the epoch

    async def close(self) -> None:
        await self._prober.close()
        await self._writer.close()
        self._prober_readers.close()
        self._readers.close()
        self._replicas.close()
        await self._watch.close()

    async def probe(self) -> Condition:
        """Find out by doing. Also the occasion to let go of what waits for a server process that is no longer there."""
        suspects = self._sessions()
        try:
            alive = await self._read(live_backends, (), self._prober_readers)
        except StorageError as error:
            if not isinstance(error.__cause__, TimeoutError):  # who does not answer may still be committing
                self._let_go(set())
            return Condition(False, False, str(error))
        self._let_go(alive)
        drop_dead(suspects, alive)
        try:
            self._witness = max(self._witness, await self._prober.run(write_probe))
        except StorageError as error:
            return Condition(True, False, str(error))
        return Condition(True, True)

    def statistics(self) -> dict[str, int]:
        """Counts since the start: connections made, callers refused because all were busy, transactions done again,
        those of them whose outcome was in doubt; how often a primary was found; reads that replicas answered, those
        they had not replayed enough for, those they failed, and those for which no replica was fit."""
        pools = (self._readers, self._writers)
        return {
            "connects": sum(pool.connects for pool in pools),
            "refused_busy": sum(pool.refused for pool in pools),
            "retried": self._writer.retried,
            "doubted": self._writer.doubted,
            "primary_switches": self._watch.switches,
            "replica_reads": self._replicas.reads,
            "replica_behind": self._replicas.behind,
            "replica_failures": self._replicas.failures,
            "replica_nobody": self._replicas.nobody,
        }

    def hosts(self) -> tuple[HostState, ...]:
        """What is known of each server of the address; of a single one, nothing."""
        return self._watch.states

    # Log ----------------------------------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append], is_wanted: IsWanted = always) -> list[Outcome]:
        if not batch:
            return []
        wanted = needs(batch)
        own = self._ownership.of(wanted.logs)
        look = self._repeats.expected

        async def work(connection: Connection) -> list[Outcome]:
            """Only the first attempt may leave finding repeated sends to the unique index."""
            nonlocal look
            looks, look = look, True
            outcomes = await append(connection, batch, wanted, own, self._ownership.shards, look=looks)
            if looks:
                self._repeats.note(outcomes)
            if not is_wanted():
                raise Unwanted
            return outcomes

        try:
            return await self._writer.run(work, opening(own))
        except (Unstorable, Collided) as error:
            if len(batch) == 1:
                return [_refusal(error)]
        except StorageError as error:
            return [_refusal(error)] * len(batch)
        return await self._append_halves(batch, is_wanted)

    async def _append_halves(self, batch: Sequence[Append], is_wanted: IsWanted) -> list[Outcome]:
        """Find the append that spoils the batch, so that it harms only itself."""
        half = len(batch) // 2
        first = await self.append(batch[:half], is_wanted)
        unsettled = refused_for_now(first)
        if unsettled is not None:
            return [*first, *[unsettled] * (len(batch) - half)]
        return [*first, *await self.append(batch[half:], is_wanted)]

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
        view = await self._read(lambda connection: reading.view(connection, app, conv, user), [(app, conv)])
        if isinstance(view, Refused):
            return view
        asked, rising = within(view.spans, after, before), after is not None
        wanted = Wanted(app, conv, asked, rising, limit, bytes_max)
        return page_of(view, asked, await self._entries(wanted) if asked else [], rising)

    async def _entries(self, wanted: Wanted) -> list[Entry]:
        found = await self._replicas.entries(wanted, self._reign)
        if found is not None:
            return found
        log = (wanted.app, wanted.conv)
        return await self._read(lambda connection: reading.entries(connection, *wanted), [log])

    async def conversation(self, app: str, conv: str) -> Conversation | None:
        return await self._read(lambda connection: reading.conversation(connection, app, conv), [(app, conv)])

    async def members(self, app: str, conv: str, *, after: str = "", limit: int = 1_000) -> list[Member]:
        page = (after, limit)
        return await self._read(
            lambda connection: reading.members(connection, app, conv, *page), [(app, conv)]
        )

    async def member(self, app: str, conv: str, user: str) -> Member | None:
        return await self._read(lambda connection: reading.member(connection, app, conv, user), [(app, conv)])

    async def inboxes(self, app: str, users: Sequence[str]) -> list[Inbox]:
        logs = [(app, account_id(user)) for user in users]
        return await self._read(lambda connection: lists.inboxes(connection, app, users), logs)

    async def memberships(self, app: str, pairs: Sequence[UserConv]) -> list[int]:
        logs = [(app, conv) for _, conv in pairs]
        return await self._read(lambda connection: lists.memberships(connection, app, pairs), logs)

    async def heads(self, app: str, convs: Sequence[str]) -> dict[str, int]:
        logs = [(app, conv) for conv in convs]
        return await self._read(lambda connection: lists.heads(connection, app, convs), logs)

    async def summaries(
        self, app: str, user: str, convs: Sequence[str], *, below: Mark = TOP, limit: int = 500
    ) -> list[Listed]:
        span, logs = (below, limit), [(app, conv) for conv in convs]
        return await self._read(lambda connection: lists.summaries(connection, app, user, convs, *span), logs)

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        if not updates:
            return []
        own = self._ownership.of((each.app, each.cursor.conv) for each in updates)
        shards = self._ownership.shards
        return await self._write(lambda connection: cursors.advance(connection, updates, own, shards), own)

    async def cursors(self, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
        return await self._read(
            lambda connection: cursors.cursors(connection, app, conv, users), [(app, conv)]
        )

    async def trim(self, app: str, conv: str, first_seq: int) -> None:
        """As `Trimming.trim` says."""
        own = self._ownership.of([(app, conv)])
        await self._write(lambda connection: trimming.trim(connection, app, conv, first_seq, own), own)

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
        shard = shard_of(app, account_id(user.user), self._ownership.shards)
        return await self._write(lambda connection: directory.put_user(connection, app, user, shard), [shard])

    async def users(self, app: str, users: Sequence[str]) -> list[User]:
        logs = [(app, account_id(user)) for user in users]
        return await self._read(lambda connection: directory.users(connection, app, users), logs)

    async def blocked(self, app: str) -> list[str]:
        return await self._read(lambda connection: directory.blocked(connection, app))

    # Shards -------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the system calls this database."""
        return self._ownership.name

    async def query(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Read on the primary, for what moves shards. Nothing is verified."""
        return await self._read(work)

    async def transact(self, work: Work[T]) -> T:
        """Write, for what moves shards: done again until it is certain, so `work` must be idempotent."""
        return await self._write(work)

    async def charter(self) -> Charter:
        return await self._read(self._ownership.charter)

    async def learn(self, charter: Charter) -> None:
        await self._write(lambda connection: learn(connection, charter))

    # --------------------------------------------------------------------------------------------------------------

    async def _connect(self, settings: Settings, command_timeout_s: float | None) -> Session:
        """A session on the primary of the moment, whose facts replace those of the one before."""
        host = self._watch.primary()
        session = await connect(host, settings, command_timeout_s)
        try:
            if session.timeline < self._watch.timeline:
                raise StorageUnavailable(f"{host.name} was the primary once, and has been replaced")
            with dropped_when_late(session):
                facts = await load_facts(session.connection, host.name, session.timeline, self._witness)
            if host != self._watch.primary():
                raise Lost(f"{host.name} is not the primary any more")
        except BaseException:
            session.drop()
            raise
        self._epoch, self._reign = facts.epoch, facts.reign
        self._ownership.shards = facts.shards
        return session

    def _sessions(self, host: Host | None = None) -> list[Session]:
        return [session for pool in self._pools for session in pool.with_host(host)]

    def _switch(self, host: Host | None) -> None:
        """Another primary, or another timeline: what was connected before counts no more. None: all are away."""
        for pool in self._pools:
            if host is None:
                pool.give_up()
            else:
                pool.leave(host, self._watch.timeline)

    async def _read(
        self,
        work: Callable[[Connection], Awaitable[T]],
        logs: Iterable[LogKey] = (),
        pool: Sessions | None = None,
    ) -> T:
        """What `work` reads of these logs, which this database owned all the while. Raises `Moved` when it did not."""
        shards = self._ownership.to_verify(logs)
        try:
            return await self._read_once(work, shards, pool or self._readers)
        except Lost:  # perhaps an idle connection to a server that has been restarted since
            return await self._read_once(work, shards, pool or self._readers)

    async def _read_once(
        self, work: Callable[[Connection], Awaitable[T]], shards: Sequence[int], pool: Sessions
    ) -> T:
        async with pool.use() as session:
            result = await work(session.connection)
            if shards:
                await self._ownership.verify(session.connection, shards)
            return result

    async def _write(self, work: Work[T], shards: Sequence[int] = ()) -> T:
        try:
            return await self._writer.run(work, opening(shards))
        except (Unstorable, StorageCorrupt) as error:
            raise StorageUnavailable(str(error)) from error

    def _let_go(self, alive: set[Backend]) -> None:
        self._writer.drop_abandoned(alive)
        self._prober.drop_abandoned(alive)


def _refusal(error: StorageError) -> Refused:
    if isinstance(error, Unstorable):
        return Refused(Code.INVALID_REQUEST, f"the database does not take this entry: {error}")
    return as_refusal(error)
