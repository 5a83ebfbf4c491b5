"""What a node must know of the primary it has reached before it trusts the connection.

Two things are settled here, by whoever notices first. A primary on another timeline than the one noted is newly
promoted: it gets a new `reign`, and the epoch stays. A primary that lacks a write which this node has seen
acknowledged was put back to an older state: it gets a new epoch.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import asyncpg

from posthouse.storage.base import StorageUnavailable
from posthouse.storage.engines.postgres import schema
from posthouse.storage.engines.postgres.connection import Connection

# `witness` is a transaction that was acknowledged. One that is yet to come, or failed, or is under way, is another one.
_FACTS: Final = """
SELECT epoch, shards, schema_version, timeline, reign,
    (SELECT xid FROM entry ORDER BY xid DESC LIMIT 1) >= pg_snapshot_xmax(pg_current_snapshot()) AS dumped,
    CASE WHEN $1::xid8 = '0'::xid8 THEN false
        WHEN $1::xid8 >= pg_snapshot_xmax(pg_current_snapshot()) THEN true
        ELSE pg_xact_status($1::xid8) IN ('aborted', 'in progress') END AS lost
FROM meta
"""
# A standby that is slow must not keep anybody from connecting: these two are written for this server alone. Should the
# next failover lose them, the next node to come notices the same and does the same.
_HERE_ONLY: Final = "SET LOCAL synchronous_commit = local; SET LOCAL lock_timeout = '500ms'"
_CROWN: Final = "UPDATE meta SET timeline = $1, reign = gen_random_uuid() WHERE timeline <> $1"
_RENEW: Final = "UPDATE meta SET epoch = replace(gen_random_uuid()::text, '-', '') WHERE epoch = $1"


@dataclass(frozen=True, slots=True)
class Facts:
    """A database's epoch and number of shards; `reign` is empty while it is not known."""

    epoch: str
    shards: int
    reign: str


async def load_facts(connection: Connection, where: str, timeline: int = 0, witness: int = 0) -> Facts:
    """The facts of the primary at the other end, which is on `timeline` (0: it does not say)."""
    row = await connection.fetchrow(_FACTS, witness)
    assert row is not None
    schema.check(row["schema_version"], len(schema.migrations()), where)
    if row["dumped"]:
        raise StorageUnavailable(
            f"{where} was restored from a dump: its transaction numbers began anew, so readers of the feed would miss "
            "entries. Restore a physical backup (pg_basebackup, or your provider's snapshots) instead"
        )
    if row["lost"]:
        await _write(connection, _RENEW, row["epoch"])
        return await load_facts(connection, where, timeline)
    if timeline and timeline != row["timeline"] and not await _read_only(connection):
        with suppress(
            asyncpg.LockNotAvailableError
        ):  # held by a COMMIT that waits for its standby: nameless for now
            await _write(connection, _CROWN, timeline)
            return await load_facts(connection, where, timeline)
    return Facts(row["epoch"], row["shards"], row["reign"] if timeline == row["timeline"] else "")


async def _write(connection: Connection, sql: str, *values: object) -> None:
    async with connection.transaction():
        await connection.execute(_HERE_ONLY)
        await connection.execute(sql, *values)


async def _read_only(connection: Connection) -> bool:
    return bool(await connection.fetchval("SELECT current_setting('transaction_read_only') = 'on'"))
