"""`SqliteDatabase`: the port's `Database` on one SQLite file.

All writes are made one after another by one thread; reads have threads and connections of their own and never wait
for it. Once a page was found damaged nothing more is written; what can be read is still read.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from posthouse.kit.clock import Clock
from posthouse.model.conversation import Conversation, Member
from posthouse.protocol.frames import MemberCursor
from posthouse.storage.append import SHARDS, Repeats
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
    StorageFull,
    StorageUnavailable,
    Unwanted,
    User,
    UserConv,
    always,
)
from posthouse.storage.engines.sqlite import charters, cursors, directory, feed, lists, reading, trimming
from posthouse.storage.engines.sqlite.appending import append, refusals
from posthouse.storage.engines.sqlite.checkpoints import Checkpoints
from posthouse.storage.engines.sqlite.connection import open_reader, open_writer
from posthouse.storage.engines.sqlite.schema import check_current, load_facts, migrate, write_probe
from posthouse.storage.engines.sqlite.threads import Threads
from posthouse.storage.marks import TOP, Mark

READERS = 3
READS_WAITING_MAX = 2_000
WRITES_WAITING_MAX = 200
"""Appends come one batch at a time; the rest is cursors, users and positions. More are refused and counted."""

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]


class SqliteDatabase:
    """One SQLite file, opened once. `vfs` names another file system than the operating system's, for tests."""

    def __init__(self, path: Path, clock: Clock, *, vfs: str | None = None) -> None:
        self._clock = clock
        self._file = (str(path), vfs)
        self._checkpoints = Checkpoints(partial(open_writer, *self._file))
        self._writer = Threads(
            "writer", self._open_writer, 1, WRITES_WAITING_MAX, self._checkpoints.after_work
        )
        self._readers = Threads("reader", partial(open_reader, *self._file), READERS, READS_WAITING_MAX)
        self._shards = SHARDS
        self._epoch = ""
        self._damage = ""
        self._repeats = Repeats()

    @property
    def epoch(self) -> str:
        return self._epoch

    async def open(self) -> None:
        now_ms = self._clock.now_ms()
        try:
            await self._writer.run(lambda connection: migrate(connection, SHARDS, now_ms))
            # A killed process may have left what it had written and not synced. It can be read, and a power cut would
            # take it: one commit syncs it all, before it is shown or a repeated send confirmed.
            await self._writer.run(lambda connection: write_probe(connection, now_ms))
        except StorageFull:
            # Reads may still be served from a database that is as new as this program.
            await self._read(check_current)
        facts = await self._read(load_facts)
        self._epoch, self._shards = str(facts["epoch"]), int(str(facts["shards"]))

    async def close(self) -> None:
        await self._readers.close()
        self._checkpoints.close()
        await self._writer.close()

    async def probe(self) -> Condition:
        try:
            await self._read(load_facts)
        except StorageError as error:
            return Condition(False, False, str(error))
        now_ms = self._clock.now_ms()
        try:
            await self._write(lambda connection: write_probe(connection, now_ms))
        except StorageError as error:
            return Condition(True, False, str(error))
        return Condition(True, True, self._checkpoints.error)

    # Log ------------------------------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append], is_wanted: IsWanted = always) -> list[Outcome]:
        """The writer alone writes: what is wanted when its turn comes needs not be asked for again."""

        def work(connection: apsw.Connection) -> list[Outcome]:
            if not is_wanted():
                raise Unwanted
            return self._append(connection, batch)

        try:
            return await self._write(work)
        except StorageError as error:
            return refusals(batch, error)

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
        return await self._read(lambda connection: reading.read(connection, app, conv, user, *span))

    async def conversation(self, app: str, conv: str) -> Conversation | None:
        return await self._read(lambda connection: reading.conversation(connection, app, conv))

    async def members(self, app: str, conv: str, *, after: str = "", limit: int = 1_000) -> list[Member]:
        return await self._read(lambda connection: reading.members(connection, app, conv, after, limit))

    async def member(self, app: str, conv: str, user: str) -> Member | None:
        return await self._read(lambda connection: reading.member(connection, app, conv, user))

    async def inboxes(self, app: str, users: Sequence[str]) -> list[Inbox]:
        return await self._read(lambda connection: lists.inboxes(connection, app, users))

    async def memberships(self, app: str, pairs: Sequence[UserConv]) -> list[int]:
        return await self._read(lambda connection: lists.memberships(connection, app, pairs))

    async def heads(self, app: str, convs: Sequence[str]) -> dict[str, int]:
        return await self._read(lambda connection: lists.heads(connection, app, convs))

    async def summaries(
        self, app: str, user: str, convs: Sequence[str], *, below: Mark = TOP, limit: int = 500
    ) -> list[Listed]:
        span = (below, limit)
        return await self._read(lambda connection: lists.summaries(connection, app, user, convs, *span))

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        moved: list[CursorUpdate] = []
        for at in range(0, len(updates), cursors.ADVANCE_ROWS_MAX):
            moved += await self._write(
                partial(cursors.advance, updates=updates[at : at + cursors.ADVANCE_ROWS_MAX])
            )
        return moved

    async def cursors(self, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
        return await self._read(lambda connection: cursors.cursors(connection, app, conv, users))

    async def trim(self, app: str, conv: str, first_seq: int) -> None:
        """As `Trimming.trim` says."""
        await self._write(lambda connection: trimming.trim(connection, app, conv, first_seq))

    # Feed -----------------------------------------------------------------------------------------------------

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

    # Directory ------------------------------------------------------------------------------------------------

    async def put_user(self, app: str, user: User) -> User:
        now_ms, shards = self._clock.now_ms(), self._shards
        return await self._write(lambda connection: directory.put_user(connection, app, user, now_ms, shards))

    async def users(self, app: str, users: Sequence[str]) -> list[User]:
        return await self._read(lambda connection: directory.users(connection, app, users))

    async def blocked(self, app: str) -> list[str]:
        return await self._read(lambda connection: directory.blocked(connection, app))

    # Shards ---------------------------------------------------------------------------------------------------

    async def charter(self) -> Charter:
        return await self._read(charters.charter)

    async def learn(self, charter: Charter) -> None:
        await self._write(lambda connection: charters.learn(connection, charter))

    # ----------------------------------------------------------------------------------------------------------

    def _open_writer(self) -> apsw.Connection:
        connection = open_writer(*self._file)
        self._checkpoints.watch(connection)
        return connection

    def _append(self, connection: apsw.Connection, batch: Sequence[Append]) -> list[Outcome]:
        return append(connection, batch, self._clock.now_ms(), self._shards, self._repeats, self._note)

    async def _read(self, work: Work[T]) -> T:
        try:
            return await self._readers.run(work)
        except StorageCorrupt as error:
            self._note(error)
            raise

    async def _write(self, work: Work[T]) -> T:
        if self._damage:
            raise StorageUnavailable(f"nothing is written to a damaged database. {self._damage}")
        try:
            return await self._writer.run(work)
        except StorageCorrupt as error:
            self._note(error)
            raise StorageUnavailable(str(error)) from error

    def _note(self, error: StorageError) -> None:
        """Remember damage: it stays until an operator has restored the database."""
        if isinstance(error, StorageCorrupt):
            self._damage = self._damage or str(error)
