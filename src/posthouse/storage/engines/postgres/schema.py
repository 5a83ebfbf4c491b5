"""Bring the schema of a database up to date: numbered files, forward only, each in a transaction of its own.

Nodes that start at once take turns by an advisory lock. The release before works on beside a newer one: a migration
says in its first line which schema's code still may (`-- Works with: N`). First a release expands the schema (N stays),
and once no node of before is left a later one contracts it (N grows). A database that demands more is refused.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Final

from posthouse.storage.base import StorageUnavailable
from posthouse.storage.engines.postgres.connection import Connection

_LOCK_KEY: Final = 0x506F7374686F7573
"""Any number that no other program is likely to lock: "Posthous"."""
_WORKS_WITH: Final = re.compile(r"-- Works with: (\d+)\n")

# The lock ends with the transaction, and a node that froze in it is ended by the server (idle_in_transaction…): it
# stops nobody from starting. Others wait for it as long as a migration may take, but no table's lock so long.
_TAKE_TURN: Final = f"""
SET LOCAL lock_timeout = '60s';
SELECT pg_advisory_xact_lock({_LOCK_KEY});
SET LOCAL lock_timeout = '5s'
"""
_META: Final = """
SELECT to_regclass('meta') IS NOT NULL, EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = to_regclass('meta') AND attname = 'migrated' AND NOT attisdropped
)
"""


@cache
def migrations() -> list[str]:
    """The migrations in order; number n brings the schema from version n to n + 1."""
    folder = files(__package__) / "migrations"
    return [file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda file: file.name)]


def works_with(migration: str) -> int:
    """The oldest schema version whose code still works with the database once this migration has been applied."""
    found = _WORKS_WITH.match(migration)
    return int(found[1]) if found else 1


async def migrate(connection: Connection, shards: int, where: str) -> None:
    """Apply what is missing. `shards` is fixed when the database is first set up."""
    known = migrations()
    while await _applied(connection, len(known), where) < len(known):
        async with connection.transaction():
            await connection.execute(_TAKE_TURN)
            version = await _applied(connection, len(known), where)
            if version < len(known):
                await _apply(connection, version, known[version], shards)


async def _apply(connection: Connection, version: int, migration: str, shards: int) -> None:
    await connection.execute(migration)
    if version == 0:
        await connection.execute("INSERT INTO meta (shards) VALUES ($1)", shards)
    await connection.execute("UPDATE meta SET schema_version = $1", works_with(migration))
    if version > 0:
        await connection.execute("UPDATE meta SET migrated = $1", version + 1)


async def _applied(connection: Connection, known: int, where: str) -> int:
    """How many migrations have been applied; 0 when there is nothing of ours yet."""
    row = await connection.fetchrow(_META)
    assert row is not None
    there, counted = row
    if not there:
        return 0
    check(await connection.fetchval("SELECT schema_version FROM meta"), known, where)
    return int(await connection.fetchval("SELECT migrated FROM meta")) if counted else 1


def check(demanded: int, known: int, where: str) -> None:
    """Raise `StorageUnavailable` when the database demands to know more of its schema than this release does."""
    if demanded > known:
        raise StorageUnavailable(
            f"{where} was set up by a newer Posthouse (it needs one that knows schema {demanded}; this one knows "
            f"up to {known}): run that version, or restore a backup made before the upgrade"
        )
