"""What is asked of a server to learn how it is: its role, which processes are alive, and whether a write commits."""

from typing import Final

import asyncpg

from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.hosts import Look

Backend = tuple[int, str]
"""A server process: its id and when it began, so that another with the same id is not taken for it."""

_BACKENDS: Final = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE usename = current_user"
_PROBE: Final = """
UPDATE meta SET probed_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
RETURNING pg_current_xact_id()::text::bigint
"""
_ROLE: Final = "pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'"
# A name of a segment of the log begins with the timeline in hexadecimal: the one way to ask that needs no rights, and
# that knows of a promotion at once.
_LOOK: Final = f"""
SELECT {_ROLE},
    CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END,
    (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - '0/0')::bigint
"""


async def live_backends(connection: Connection) -> set[Backend]:
    """The server's processes that serve our user's connections."""
    return {(pid, began) for pid, began in await connection.fetch(_BACKENDS)}


async def write_probe(connection: Connection) -> int:
    """Write a row, inside a transaction, whose number is returned."""
    return int(await connection.fetchval(_PROBE))


async def look(connection: Connection) -> Look:
    """What the server is at this moment. Services without a log of their own (Aurora) tell their role only."""
    try:
        row = await connection.fetchrow(_LOOK)
    except (asyncpg.FeatureNotSupportedError, asyncpg.ObjectNotInPrerequisiteStateError):
        row = await connection.fetchrow(f"SELECT {_ROLE}, NULL, NULL")
    assert row is not None
    standby, read_only, timeline, position = row
    return Look(standby, read_only, int(timeline or "0", 16), position)
