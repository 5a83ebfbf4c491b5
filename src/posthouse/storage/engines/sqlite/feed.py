"""The feed: entries by `number`, which is the commit order because one connection writes.

Numbers are never used again: the newest entry is never deleted, and a rowid follows the largest there is.
"""

from collections.abc import Sequence

import apsw

from posthouse.model.entry import MESSAGE
from posthouse.storage.base import FeedEntry, FeedPosition
from posthouse.storage.engines.sqlite.reading import ENTRY_COLUMNS, entry_of
from posthouse.storage.engines.sqlite.transaction import writing

_COLUMNS = f"number, app, {ENTRY_COLUMNS}"
_TAIL = f"SELECT {_COLUMNS} FROM entry WHERE number > ? ORDER BY number LIMIT ?"
_TAIL_FILTERED = "SELECT {columns} FROM entry WHERE number > ? AND kind IN ({kinds}) ORDER BY number LIMIT ?"
# One walk along the index `entry_kind` for each kind: the messages between are never looked at.
_OF_KIND = f"""SELECT * FROM (SELECT {_COLUMNS} FROM entry
    WHERE kind = ? AND kind <> '{MESSAGE}' AND number > ? ORDER BY number LIMIT ?)"""
_CHANGED = "SELECT app, conv, max(seq) FROM entry WHERE number > ? AND number <= ? GROUP BY app, conv"
_POSITION = "SELECT number FROM feed_reader WHERE reader = ?"
_STORE = """INSERT INTO feed_reader (reader, number) VALUES (?, ?)
    ON CONFLICT DO UPDATE SET number = max(number, excluded.number)"""


def tail(
    connection: apsw.Connection, after: FeedPosition, limit: int, kinds: Sequence[str]
) -> list[FeedEntry]:
    """As `Feed.tail` says."""
    kinds = list(dict.fromkeys(kinds))
    if not kinds:
        rows = connection.execute(_TAIL, (after.number, limit))
    elif MESSAGE in kinds:
        sql = _TAIL_FILTERED.format(columns=_COLUMNS, kinds=", ".join("?" * len(kinds)))
        rows = connection.execute(sql, (after.number, *kinds, limit))
    else:
        sql = f"{' UNION ALL '.join([_OF_KIND] * len(kinds))} ORDER BY number LIMIT ?"
        bindings = [value for kind in kinds for value in (kind, after.number, limit)]
        rows = connection.execute(sql, (*bindings, limit))
    return [FeedEntry(_at(row[0]), row[1], entry_of(row[2:])) for row in rows]


def changed(
    connection: apsw.Connection, after: FeedPosition, until: FeedPosition
) -> dict[tuple[str, str], int]:
    """As `Feed.changed` says."""
    rows = connection.execute(_CHANGED, (after.number, until.number))
    return {(app, conv): seq for app, conv, seq in rows}


def end(connection: apsw.Connection) -> FeedPosition:
    """As `Feed.end` says."""
    return _at(connection.execute("SELECT coalesce(max(number), 0) FROM entry").get)


def position(connection: apsw.Connection, reader: str) -> FeedPosition:
    """As `Feed.position` says."""
    return _at(connection.execute(_POSITION, (reader,)).get or 0)


def store_position(connection: apsw.Connection, reader: str, reached: FeedPosition) -> None:
    """As `Feed.store_position` says."""
    with writing(connection):
        connection.execute(_STORE, (reader, reached.number))


def _at(number: int) -> FeedPosition:
    return FeedPosition(0, number)
