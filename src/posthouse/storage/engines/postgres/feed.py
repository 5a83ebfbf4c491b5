"""The feed on PostgreSQL: entries in the order in which their transactions began to write, without a lock.

What lies below the oldest number still under way is final: a reader takes that and nothing beyond, and waits for a long
transaction of anybody on the server. A position never lies beyond the newest entry, which is on the synchronous replica
too: numbers rolled back after it die with this primary, and its successor gives them again, to entries.
"""

from collections.abc import Sequence
from typing import Final

from posthouse.model.entry import MESSAGE
from posthouse.storage.base import FEED_START, FeedEntry, FeedPosition
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.reading import ENTRY_COLUMNS, entry_of

NUMBER_MAX: Final = 2**31 - 1
"""More than any place within a transaction."""

_BEYOND = """
FROM entry WHERE (xid, number) > ($1::xid8, $2::integer) AND xid < pg_snapshot_xmin(pg_current_snapshot())
"""
_TAIL = f"SELECT xid, number, app, {ENTRY_COLUMNS} {_BEYOND} {{filter}} ORDER BY xid, number LIMIT $3"
_TAIL_ALL = _TAIL.format(filter="")
_TAIL_FILTERED = _TAIL.format(filter="AND kind = ANY($4::text[])")
# Said in the index's own words, so that the index without messages can serve it.
_TAIL_RARE = _TAIL.format(filter=f"AND kind = ANY($4::text[]) AND kind <> '{MESSAGE}'")
_CHANGED = f"""
SELECT app, conv, max(seq) {_BEYOND} AND (xid, number) <= ($3::xid8, $4::integer) GROUP BY app, conv
"""
# Beside the newest entry counts what a shard has left behind: readers pass it also where nothing is written any more.
_END = """
SELECT coalesce(greatest(
    (SELECT xid FROM entry WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid DESC, number DESC LIMIT 1),
    (SELECT left_xid FROM shard WHERE left_xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY left_xid DESC LIMIT 1)
), '0'::xid8)
"""
_POSITION = "SELECT xid, number FROM feed_reader WHERE reader = $1"
_STORE = """
INSERT INTO feed_reader AS old (reader, xid, number) VALUES ($1, $2, $3)
ON CONFLICT (reader) DO UPDATE SET xid = excluded.xid, number = excluded.number
WHERE (old.xid, old.number) < (excluded.xid, excluded.number)
"""


async def tail(
    connection: Connection, after: FeedPosition, limit: int, kinds: Sequence[str]
) -> list[FeedEntry]:
    """As `Feed.tail` says."""
    if not kinds:
        rows = await connection.fetch(_TAIL_ALL, *after, limit)
    else:
        sql = _TAIL_FILTERED if MESSAGE in kinds else _TAIL_RARE
        rows = await connection.fetch(sql, *after, limit, kinds)
    return [
        FeedEntry(FeedPosition(xid, number), app, entry_of(entry))
        for xid, number, app, *entry in map(tuple, rows)
    ]


async def changed(
    connection: Connection, after: FeedPosition, until: FeedPosition
) -> dict[tuple[str, str], int]:
    """As `Feed.changed` says."""
    return {(app, conv): seq for app, conv, seq in await connection.fetch(_CHANGED, *after, *until)}


async def end(connection: Connection) -> FeedPosition:
    """As `Feed.end` says: all that is readable now lies at or below, and nothing that becomes readable later does."""
    return FeedPosition(await connection.fetchval(_END), NUMBER_MAX)


async def position(connection: Connection, reader: str) -> FeedPosition:
    """As `Feed.position` says."""
    row = await connection.fetchrow(_POSITION, reader)
    return FEED_START if row is None else FeedPosition(*row)


async def store_position(connection: Connection, reader: str, reached: FeedPosition) -> None:
    """As `Feed.store_position` says, inside a transaction."""
    await connection.execute(_STORE, reader, *reached)
