"""Bring the schema of a database up to date: numbered files, forward only, each in a transaction of its own.

Nodes that start at once take turns by an advisory lock. A database that a newer Posthouse has written is refused.
"""

from importlib.resources import files
from typing import Final

from posthouse.storage.base import StorageUnavailable
from posthouse.storage.engines.postgres.connection import Connection

_LOCK_KEY: Final = 0x506F7374686F7573
"""Any number that no other program is likely to lock: "Posthous"."""

_FACTS = """
SELECT epoch, shards, (SELECT max(xid) FROM entry) >= pg_snapshot_xmax(pg_current_snapshot()) AS dumped FROM meta
"""


def migrations() -> list[str]:
    """The migrations in order; number n brings schema version n to n + 1."""
    folder = files(__package__) / "migrations"
    return [file.read_text("utf-8") for file in sorted(folder.iterdir(), key=lambda file: file.name)]


async def migrate(connection: Connection, shards: int, where: str) -> None:
    """Apply what is missing. `shards` is fixed when the database is first set up."""
    known = migrations()
    if await _version(connection, len(known), where) == len(known):
        return
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
    try:
        for version in range(await _version(connection, len(known), where), len(known)):
            async with connection.transaction():
                await connection.execute(known[version])
                if version == 0:
                    await connection.execute("INSERT INTO meta (shards) VALUES ($1)", shards)
                await connection.execute("UPDATE meta SET schema_version = $1", version + 1)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)


async def _version(connection: Connection, known: int, where: str) -> int:
    """The database's schema version; 0 when there is nothing of ours yet."""
    if await connection.fetchval("SELECT to_regclass('meta')") is None:
        return 0
    version = int(await connection.fetchval("SELECT schema_version FROM meta"))
    if version > known:
        raise StorageUnavailable(
            f"{where} was set up by a newer Posthouse (schema {version}; this one knows up to {known}): "
            "run that version, or restore a backup made before the upgrade"
        )
    return version


async def load_facts(connection: Connection, where: str) -> tuple[str, int]:
    """The database's epoch and its number of shards."""
    row = await connection.fetchrow(_FACTS)
    assert row is not None
    if row["dumped"]:
        raise StorageUnavailable(
            f"{where} was restored from a dump: its transaction numbers began anew, so readers of the feed would miss "
            "entries. Restore a physical backup (pg_basebackup, or your provider's snapshots) instead"
        )
    return row["epoch"], row["shards"]
