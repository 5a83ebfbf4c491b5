"""Moves a shard from one PostgreSQL database to another while it is written, and clears what it has left behind.

Copy all, then what was noted meanwhile, until little is left; freeze the shard, copy the rest, hand it over. Every step
is a transaction that any later try may find done or not done. A mover that dies leaves a freeze that ends by itself and
a copy that the next one overwrites; one that was only taken for dead is kept out by its name in the shard's row.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.storage.base import StorageCorrupt, StorageError, StorageUnavailable
from posthouse.storage.engines.postgres import copying
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.copying import CURSOR, ENTRY, LOG, USER, LogKey, Row, Table
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.storage.engines.postgres.ownership import lock, lock_shared

_log = logger(__name__)

FREEZE_MS: Final = 600
"""After so long the old database takes writes again. With the wait for its lock it stays below a second."""
LOCK_TIMEOUT_MS: Final = 250
"""How long writers may queue up behind a mover that waits for a slow commit; then it lets them go first."""
NOTED_S: Final = 60
"""How long after a mover's last sign of life what is written is still noted for it."""
REST_MAX: Final = 200
"""Noted writes that may be left for the freeze."""
JOURNAL_ROWS_MAX: Final = 5_000
PASSES_MAX: Final = 500
FREEZES_MAX: Final = 20
"""Tries to freeze and hand over. Each that fails lets writers go on for a while."""
AGAIN_S: Final = 0.5
SCHEMA_MIN: Final = 3
"""A release that knows less of the schema would write shards that have moved away: from the first move on it is kept
out."""

_DEMAND = f"UPDATE meta SET schema_version = {SCHEMA_MIN} WHERE schema_version < {SCHEMA_MIN}"
_ROW = "SELECT database, epoch, state FROM shard WHERE shard = $1"
_ARRIVING = """
UPDATE shard SET database = $4, epoch = $3, state = 'arriving', mover = $2, left_xid = NULL
WHERE shard = $1 AND database <> (SELECT name FROM meta) AND epoch <= $3
"""
_MOVING = f"""
UPDATE shard SET state = 'moving', mover = $2, noted_until = clock_timestamp() + interval '{NOTED_S} s'
WHERE shard = $1 AND database = (SELECT name FROM meta) AND epoch = $3
"""
_ALIVE = f"""
UPDATE shard SET noted_until = clock_timestamp() + interval '{NOTED_S} s'
WHERE shard = $1 AND mover = $2 AND state IN ('moving', 'frozen') AND noted_until > clock_timestamp()
"""
_FROZEN = f"""
UPDATE shard SET state = 'frozen', frozen_until = clock_timestamp() + interval '{FREEZE_MS} ms'
WHERE shard = $1 AND mover = $2 AND state = 'moving' AND noted_until > clock_timestamp()
"""
_THAWED = "UPDATE shard SET state = 'moving' WHERE shard = $1 AND mover = $2 AND state = 'frozen'"
# A freeze that has ended by itself may have let writers in. They noted what they wrote: an empty journal says all,
# whatever the server's clock does; the time keeps the pause short.
_GIVEN = """
UPDATE shard SET database = $3, epoch = epoch + 1, state = 'settled', mover = '', left_xid = pg_current_xact_id()
WHERE shard = $1 AND mover = $2 AND state = 'frozen' AND epoch = $4 AND frozen_until > clock_timestamp()
    AND noted_until > clock_timestamp() AND NOT EXISTS (SELECT FROM shard_journal WHERE shard = $1)
"""
_TAKEN = """
UPDATE shard SET database = (SELECT name FROM meta), epoch = $3, state = 'settled', mover = ''
WHERE shard = $1 AND mover = $2 AND state = 'arriving' AND epoch < $3
"""
_UNDONE = (
    "UPDATE shard SET state = 'settled', mover = '' WHERE shard = $1 AND mover = $2 AND state <> 'arriving'"
)
_NOT_TAKEN = """
UPDATE shard SET state = 'settled', mover = '', left_xid = pg_current_xact_id()
WHERE shard = $1 AND mover = $2 AND state = 'arriving'
"""
_IS_FROZEN = """
SELECT EXISTS (
    SELECT FROM shard WHERE shard = $1 AND mover = $2 AND state = 'frozen' AND frozen_until > clock_timestamp()
) AND NOT EXISTS (SELECT FROM shard_journal WHERE shard = $1)
"""
_IS_ARRIVING = "SELECT EXISTS (SELECT FROM shard WHERE shard = $1 AND mover = $2 AND state = 'arriving')"
_FORGET = "DELETE FROM shard_journal WHERE shard = $1"
_JOURNAL = f"""
SELECT id, app, conv, user_id FROM shard_journal WHERE shard = $1 ORDER BY shard, id LIMIT {JOURNAL_ROWS_MAX}
"""
_FORGET_SOME = "DELETE FROM shard_journal WHERE shard = $1 AND id = ANY($2::bigint[])"

_LEFT = """
SELECT shard FROM shard WHERE database <> (SELECT name FROM meta) AND state = 'settled' AND left_xid IS NOT NULL
"""
_STILL_LEFT = f"{_LEFT} AND shard = $1"
_BEHIND = """
SELECT reader FROM feed_reader WHERE xid::text::xid8 < (SELECT left_xid FROM shard WHERE shard = $1) ORDER BY reader
"""
_CLEAR = """
DELETE FROM {table} AS own USING unnest($1::text[], $2::text[]) AS gone (app, key)
WHERE own.app = gone.app AND own.{key} = gone.key
"""
_CLEARED = "UPDATE shard SET left_xid = NULL WHERE shard = $1"

Step = Callable[[str], Awaitable[None]]
"""Told of each step before it is taken."""


class Superseded(StorageUnavailable):
    """Another mover has taken over this shard: this one does nothing more."""


class TooBusy(StorageUnavailable):
    """The shard was written faster than it could be copied, or its lock was not to be had in time."""


@dataclass(slots=True)
class Moved:
    """What a move came to. `paused_ms` is how long writes to the shard were refused, of the try that went through."""

    shard: int
    source: str
    target: str
    rows: int = 0
    passes: int = 0
    freezes: int = 0
    paused_ms: float = 0.0


async def _go_on(step: str) -> None:
    """Tests stop a mover here."""


@dataclass(slots=True)
class ShardMove:
    """One shard, owned since `epoch`, on its way from `source` to `target`. `mover` names this try and no other."""

    shard: int
    source: PostgresDatabase
    target: PostgresDatabase
    epoch: int
    mover: str
    clock: Clock
    before: Step = _go_on
    result: Moved = field(init=False)
    _frozen_at: float = 0.0

    def __post_init__(self) -> None:
        self.result = Moved(self.shard, self.source.name, self.target.name)

    async def run(self) -> Moved:
        """Move. Raises `StorageError` when it could not be done: then all is as it was, or the next try finishes it."""
        try:
            await self._begin()
            await self._copy_all()
            await self._hand_over()
        except StorageError:
            await self._undo()
            raise
        await self.before("take")
        await self._take()
        self.result.paused_ms = round((self.clock.monotonic() - self._frozen_at) * 1000, 1)
        return self.result

    # Steps ----------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        await self.before("begin at the target")
        if not await self._set(self.target, _ARRIVING, self.epoch, self.source.name, also=(_DEMAND,)):
            raise Superseded(
                f"{self.target.name} knows more about shard {self.shard} than {self.source.name}"
            )
        await self.before("begin at the source")
        for _ in range(FREEZES_MAX):
            if await self._quickly(_MOVING, self.epoch, also=(_DEMAND, _FORGET)):
                return
            await self.clock.sleep(AGAIN_S)
        raise TooBusy(f"the lock of shard {self.shard} was not to be had in {self.source.name}")

    async def _copy_all(self) -> None:
        """Everything there is. Who is removed or renamed meanwhile is noted like all that is written."""
        await self.before("copy")
        after: LogKey = ("", "")
        while rows := await self._page(copying.page_of_logs, after):
            await self._copy_logs(rows, dict.fromkeys(map(_key, rows), 0), whole=True)
            await self._say_alive()
            after = _key(rows[-1])
        after = ("", "")
        while rows := await self._page(copying.page_of_users, after):
            await self._put([(USER, rows)])
            after = _key(rows[-1])

    async def _page(
        self, read: Callable[[Connection, int, LogKey], Awaitable[list[Row]]], after: LogKey
    ) -> list[Row]:
        return await self.source.query(lambda at: read(at, self.shard, after))

    async def _catch_up(self) -> None:
        """Copy what was noted until little is left."""
        for _ in range(PASSES_MAX):
            await self._say_alive()
            if await self._copy_noted() <= REST_MAX:
                return
        raise TooBusy(f"shard {self.shard} was written faster than it could be copied")

    async def _hand_over(self) -> None:
        for attempt in range(FREEZES_MAX):
            if attempt:
                await self.clock.sleep(AGAIN_S)
            await self._catch_up()
            if await self._try_hand_over():
                return
        raise TooBusy(f"shard {self.shard} could not be frozen long enough in {FREEZES_MAX} tries")

    async def _try_hand_over(self) -> bool:
        """Freeze, copy the rest, give. False: a commit was slow, or the freeze too short; writers go on."""
        await self.before("freeze")
        self._frozen_at = self.clock.monotonic()
        self.result.freezes += 1
        if not await self._quickly(_FROZEN):
            return False
        await self.before("copy the rest")
        while await self._copy_noted():
            pass
        await self.before("compare")
        if await self._is_whole():
            await self.before("give")
            if await self._quickly(_GIVEN, self.target.name, self.epoch) or await self._is_given():
                return True
        await self._set(self.source, _THAWED, locked=False)
        return False

    async def _take(self) -> None:
        """From here on there is no way back; should this fail, any node that loads the shard map does it."""
        if not await self._set(self.target, _TAKEN, self.epoch + 1):
            database, epoch, _ = await self._row(self.target)
            if database != self.target.name or epoch <= self.epoch:
                raise Superseded(
                    f"{self.target.name} did not take shard {self.shard}: load the shard map again"
                )

    async def _undo(self) -> None:
        """Give up. The target lets go only once it is certain that it was given nothing; where that cannot be told,
        the freeze ends by itself and the next try goes on from what it finds."""
        try:
            await self._set(self.source, _UNDONE, locked=False)
            if not await self._is_given():
                await self._set(self.target, _NOT_TAKEN)
        except StorageError as error:
            _log.warning("a shard's move was left half-way", shard=self.shard, reason=str(error))

    async def _is_given(self) -> bool:
        """Read after a change of the same row has ended, so that none is still under way."""
        return (await self._row(self.source))[0] != self.source.name

    # Copying --------------------------------------------------------------------------------------------------------

    async def _copy_noted(self) -> int:
        """Copy what was noted so far; how many writes that were. They are forgotten only once they are copied."""
        self.result.passes += 1
        rows = await self.source.query(lambda at: at.fetch(_JOURNAL, self.shard))
        if not rows:
            return 0
        noted = list(dict.fromkeys((app, conv, user) for _, app, conv, user in rows))
        logs = [(app, conv) for app, conv, user in noted if not user]
        for at in range(0, len(logs), copying.LOGS_MAX):
            await self._copy_changed(logs[at : at + copying.LOGS_MAX])
        cursors = [each for each in noted if each[1] and each[2]]
        users = [(app, user) for app, conv, user in noted if not conv]
        await self._put(
            [
                (CURSOR, await self.source.query(lambda at: copying.some_cursors(at, cursors))),
                (USER, await self.source.query(lambda at: copying.some_users(at, users))),
            ]
        )
        ids = [row[0] for row in rows]
        await self.source.transact(lambda at: at.execute(_FORGET_SOME, self.shard, ids))
        return len(rows)

    async def _copy_changed(self, keys: Sequence[LogKey]) -> None:
        heads = await self.target.query(lambda at: copying.heads(at, keys))
        rows = await self.source.query(lambda at: copying.logs(at, keys))
        await self._copy_logs(rows, {key: heads.get(key, 0) for key in keys}, whole=False)

    async def _copy_logs(self, logs: Sequence[Row], copied: Mapping[LogKey, int], *, whole: bool) -> None:
        """Logs with all that belongs to them. A log's row comes last: its head says how far it has been copied."""
        left = dict(copied)
        members = list(left) if whole else []
        while left:
            rows = await self._next_entries(left)
            await self._put([(ENTRY, rows)])
            members += copying.with_members(rows)
            left = {key: own[-1][2] for key, own in _by_log(rows)}
        about = dict.fromkeys(members)
        beside = await self.source.query(
            lambda at: copying.around(at, dict(copied), members=about, cursors=whole)
        )
        await self._put([*beside, (LOG, list(logs))])

    async def _next_entries(self, after: Mapping[LogKey, int]) -> list[Row]:
        return await self.source.query(lambda at: copying.entries(at, after))

    async def _put(self, rows: Sequence[tuple[Table, list[Row]]]) -> None:
        count = sum(len(own) for _, own in rows)
        if not count:
            return

        async def put(connection: Connection) -> None:
            await lock_shared(connection, self.shard)
            if not await connection.fetchval(_IS_ARRIVING, self.shard, self.mover):
                raise Superseded(f"shard {self.shard} does not arrive at {self.target.name} any more")
            await copying.put(connection, rows)

        await self.target.transact(put)
        self.result.rows += count

    async def _is_whole(self) -> bool:
        """Whether the copy is. Where it is not, either the freeze has ended by itself and writers went on, or it never
        will be: then this raises `StorageCorrupt`."""
        here = await self.source.query(lambda at: copying.counts(at, self.shard))
        there = await self.target.query(lambda at: copying.counts(at, self.shard))
        if here != there and await self._is_frozen():
            raise StorageCorrupt(
                f"shard {self.shard} differs after it was copied: {here} in {self.source.name}, {there} in "
                f"{self.target.name} (logs, and the sums of their heads, ordinals and members)"
            )
        return here == there

    async def _is_frozen(self) -> bool:
        return bool(await self.source.query(lambda at: at.fetchval(_IS_FROZEN, self.shard, self.mover)))

    # The shard's row ------------------------------------------------------------------------------------------------

    async def _row(self, database: PostgresDatabase) -> tuple[str, int, str]:
        """Owner, epoch and state of the shard as a database says."""
        row = await database.query(lambda at: at.fetchrow(_ROW, self.shard))
        if row is None:
            raise StorageUnavailable(f"{database.name} knows nothing of shard {self.shard}")
        return row["database"], row["epoch"], row["state"]

    async def _say_alive(self) -> None:
        """Without the lock: it changes nothing for writers but the time."""
        if not await self._set(self.source, _ALIVE, locked=False):
            raise Superseded(f"what was written to shard {self.shard} is not noted for this mover any more")

    async def _set(
        self,
        database: PostgresDatabase,
        sql: str,
        *values: object,
        also: Sequence[str] = (),
        locked: bool = True,
        lock_timeout_ms: int = 0,
    ) -> bool:
        """Change the shard's row; whether it was there to be changed. Done twice, the second time finds nothing."""

        async def change(connection: Connection) -> bool:
            if lock_timeout_ms:
                await connection.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
            if locked:
                await lock(connection, self.shard)
            for each in also:
                await connection.execute(each, *([self.shard] if "$1" in each else []))
            return await connection.execute(sql, self.shard, self.mover, *values) != "UPDATE 0"

        return await database.transact(change)

    async def _quickly(self, sql: str, *values: object, also: Sequence[str] = ()) -> bool:
        """Change the row at the source, unless its lock is not to be had soon: writers wait behind us for it."""
        try:
            return await self._set(self.source, sql, *values, also=also, lock_timeout_ms=LOCK_TIMEOUT_MS)
        except StorageUnavailable:
            return False


async def behind(database: PostgresDatabase, shard: int) -> list[str]:
    """The feed's readers who have not passed yet what lies in a database of a shard that has left it."""
    return [reader for (reader,) in await database.query(lambda at: at.fetch(_BEHIND, shard))]


async def left(database: PostgresDatabase) -> list[int]:
    """The shards that have left a database and of which rows are still there."""
    return [shard for (shard,) in await database.query(lambda at: at.fetch(_LEFT))]


async def clear(database: PostgresDatabase, shard: int) -> int:
    """Delete what a shard has left behind, once `behind` is empty; how many logs and users that were."""
    count = 0
    while True:
        gone = await database.transact(lambda at: _clear_some(at, shard))
        if not gone:
            return count
        count += gone


async def _clear_some(connection: Connection, shard: int) -> int:
    """In pages, each under the lock: a shard that comes back is left alone."""
    await lock_shared(connection, shard)
    if not await connection.fetch(_STILL_LEFT, shard):
        return 0
    logs = [_key(row) for row in await copying.page_of_logs(connection, shard, ("", ""))]
    users = [_key(row) for row in await copying.page_of_users(connection, shard, ("", ""))]
    if not logs and not users:
        await connection.execute(_CLEARED, shard)
        return 0
    owners = [(app, conv[1:]) for app, conv in logs if conv.startswith("~")]
    for table, key, keys in (
        *((table, "conv", logs) for table in ("entry", "member", "mention", "cursor", "log")),
        ("inbox", "user_id", owners),
        ("user_record", "user_id", users),
    ):
        if keys:
            await connection.execute(_CLEAR.format(table=table, key=key), *zip(*keys, strict=True))
    return len(logs) + len(users)


def _key(row: Row) -> LogKey:
    return row[0], row[1]


def _by_log(rows: Sequence[Row]) -> list[tuple[LogKey, list[Row]]]:
    return [(key, list(own)) for key, own in groupby(rows, _key)]
