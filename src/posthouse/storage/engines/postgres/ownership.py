"""Which shards this database owns: asked inside every write, under a lock, and after every read.

A writer takes a shared advisory lock for each shard it touches, with BEGIN, and reads ownership in a later statement.
Whoever changes a shard's row holds that lock alone: so a write either commits before the change or is refused by it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from posthouse.model.ids import shard_of
from posthouse.storage.base import Charter, Moved, Owner, StorageUnavailable
from posthouse.storage.engines.postgres.connection import Connection

LOCK_CLASS: Final = 0x506F7374
"""The first half of the advisory locks' keys, the second is the shard: "Post"."""
WHOLE_MAP: Final = -1
"""In place of a shard: for what concerns them all."""

# A freeze ends by itself: should the mover have died, writes go on, and are noted for the next try.
STATE: Final = """
    database = (SELECT name FROM meta) AND (state <> 'frozen' OR frozen_until <= clock_timestamp()) AS writable,
    state IN ('moving', 'frozen') AND noted_until > clock_timestamp() AS noted
"""
_GUARD: Final = f"SELECT shard, {STATE} FROM shard WHERE shard = ANY($1::smallint[])"
_OWNED: Final = """
SELECT shard, epoch, database = (SELECT name FROM meta) AS owned FROM shard WHERE shard = ANY($1::smallint[])
"""
_OWNERS: Final = "SELECT shard, database, epoch FROM shard ORDER BY shard"
_PEERS: Final = "SELECT name, epoch FROM peer"
_EMPTY: Final = "SELECT NOT EXISTS (SELECT FROM log)"
_NAMED: Final = "SELECT name FROM meta"
_NAME: Final = "UPDATE meta SET name = $1 WHERE name = ''"

_OLDER: Final = """
SELECT said.shard FROM unnest($1::smallint[], $2::text[], $3::bigint[]) AS said (shard, database, epoch)
LEFT JOIN LATERAL (SELECT * FROM shard WHERE shard.shard = said.shard LIMIT 1) AS own ON true
WHERE own IS NULL OR own.epoch < said.epoch ORDER BY said.shard
"""
# Own only what was dealt before anything was, or what has arrived whole: its owner of before says so in its next epoch.
_LEARN: Final = """
INSERT INTO shard AS own (shard, database, epoch)
SELECT * FROM unnest($1::smallint[], $2::text[], $3::bigint[])
ON CONFLICT (shard) DO UPDATE SET database = excluded.database, epoch = excluded.epoch, state = 'settled', mover = '',
    left_xid = CASE WHEN own.state = 'arriving' AND excluded.database <> (SELECT name FROM meta)
        THEN pg_current_xact_id() ELSE own.left_xid END
WHERE own.epoch < excluded.epoch AND (excluded.database <> (SELECT name FROM meta)
    OR own.state = 'arriving' AND own.epoch = excluded.epoch - 1)
"""
_LEARN_PEERS: Final = """
INSERT INTO peer AS old (name, epoch) SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch WHERE old.epoch <> excluded.epoch
"""
_NOTE: Final = """
INSERT INTO shard_journal (shard, app, conv, user_id)
SELECT DISTINCT * FROM unnest($1::smallint[], $2::text[], $3::text[], $4::text[])
"""

LogKey = tuple[str, str]
Noted = tuple[int, str, str, str]
"""A row of the journal."""


class Ownership:
    """What one database's engine knows of its own shards. `verifying`: there are other databases beside it."""

    def __init__(self, name: str, verifying: bool) -> None:
        self.name = name
        self.shards = 1
        self._verifying = verifying
        self._epochs: dict[int, int] = {}

    def of(self, logs: Iterable[LogKey]) -> list[int]:
        """The shards that hold these logs, sorted."""
        return sorted({shard_of(app, log, self.shards) for app, log in logs})

    def to_verify(self, logs: Iterable[LogKey]) -> list[int]:
        """The shards to look at after a read of these logs: none where there is nobody else."""
        return self.of(logs) if self._verifying else []

    async def verify(self, connection: Connection, shards: Sequence[int]) -> None:
        """To be called after a read: raises `Moved` unless all it read was this database's own, and was all the time.

        A shard that left and came back has another epoch: meanwhile others wrote it elsewhere.
        """
        for shard, epoch, owned in await connection.fetch(_OWNED, shards):
            known, self._epochs[shard] = self._epochs.get(shard), epoch if owned else 0
            if not owned or known != epoch:
                raise Moved(f"shard {shard} is not, or not any longer, in the database {self.name}")

    async def charter(self, connection: Connection) -> Charter:
        """As `Database.charter` says."""
        owners = [Owner(*row) for row in await connection.fetch(_OWNERS)]
        self._epochs = {each.shard: each.epoch for each in owners if each.database == self.name}
        peers = dict(await connection.fetch(_PEERS))
        return Charter(owners, peers, bool(await connection.fetchval(_EMPTY)))


def opening(shards: Iterable[int]) -> str:
    """SQL that rides with BEGIN: nobody may move these shards before the transaction ends. They must be sorted."""
    wanted = ", ".join(f"({shard})" for shard in shards)
    locked = f"pg_advisory_xact_lock_shared({LOCK_CLASS}, wanted.shard)"
    return f"SELECT {locked} FROM (VALUES {wanted}) AS wanted (shard)" if wanted else ""


async def guard(connection: Connection, shards: Sequence[int]) -> tuple[set[int], set[int]]:
    """Under the locks of `opening`: the shards that may not be written here, and those whose writes must be noted."""
    rows = await connection.fetch(_GUARD, shards)
    return {shard for shard, writable, _ in rows if not writable}, {
        shard for shard, _, noted in rows if noted
    }


async def note(connection: Connection, written: Iterable[Noted]) -> None:
    """Remember what was written to shards that are being copied, in the transaction that writes it."""
    await connection.execute(_NOTE, *zip(*written, strict=True))


async def name_database(connection: Connection, name: str, where: str) -> None:
    """Give the database its name the first time. Raises `StorageUnavailable` when it has another one."""
    own = await connection.fetchval(_NAMED)
    if not own:
        await connection.execute(_NAME, name)
        own = await connection.fetchval(_NAMED)
    if own != name:
        raise StorageUnavailable(
            f"{where} is the database {own!r} of this system, but the configuration calls it {name!r}: addresses may "
            "have been mixed up"
        )


async def learn(connection: Connection, charter: Charter) -> None:
    """As `Database.learn` says, inside a transaction."""
    await lock(connection, WHOLE_MAP)
    owners = list(zip(*charter.owners, strict=True)) or [(), (), ()]
    for (shard,) in await connection.fetch(_OLDER, *owners):
        await lock(connection, shard)
    await connection.execute(_LEARN, *owners)
    await connection.execute(_LEARN_PEERS, list(charter.epochs), list(charter.epochs.values()))


async def lock_shared(connection: Connection, shard: int) -> None:
    """Write to a shard beside others, before whose row is read."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1, $2)", LOCK_CLASS, shard)


async def lock(connection: Connection, shard: int) -> None:
    """Keep everybody else out of a shard until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK_CLASS, shard)
