"""The rows of a shard, from one database to another: in pages while it is written, then again what was noted since.

Reading takes no locks. What was read is written over what is there: a copy may be begun again at any time. Entries
arrive with the place (0, 0) in the feed, before every reader's position: nobody is notified twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from posthouse.model.entry import MESSAGE
from posthouse.model.ids import account_user
from posthouse.storage.base import StorageCorrupt
from posthouse.storage.engines.postgres.connection import Connection

LOGS_MAX: Final = 50
"""Logs in one page."""
ENTRIES_MAX: Final = 2_000
"""Entries read at once."""

Row = Sequence[Any]
LogKey = tuple[str, str]


class Table(NamedTuple):
    """Columns with their types; the first `key` of them are the primary key."""

    name: str
    key: int
    columns: dict[str, str]

    @property
    def names(self) -> str:
        return ", ".join(self.columns)

    def upsert(self) -> str:
        """Write rows over those that are there."""
        names = list(self.columns)
        arrays = ", ".join(f"${at}::{type_}[]" for at, type_ in enumerate(self.columns.values(), 1))
        news = ", ".join(f"{name} = excluded.{name}" for name in names[self.key :])
        then = f"UPDATE SET {news}" if news else "NOTHING"
        return (
            f"INSERT INTO {self.name} ({self.names}) SELECT * FROM unnest({arrays}) "
            f"ON CONFLICT ({', '.join(names[: self.key])}) DO {then}"
        )


_CONV = {"app": "text", "conv": "text"}
_USER = {"app": "text", "user_id": "text"}
LOG: Final = Table(
    "log",
    2,
    _CONV
    | {"shard": "smallint", "kind": "text", "history": "text", "head": "bigint", "ordinal": "bigint"}
    | {"active_ms": "bigint", "members": "integer", "first_seq": "bigint", "created_ms": "bigint"}
    | {"origin": "bytea", "home_region": "text", "title": "text", "properties": "bytea"},
)
ENTRY: Final = Table(
    "entry",
    3,
    _CONV
    | {"seq": "bigint", "shard": "smallint", "kind": "text", "sender": "text", "device": "text"}
    | {"client_id": "text", "digest": "bytea", "at_ms": "bigint", "ordinal": "bigint"}
    | {"reply_to": "bigint", "mentions": "text", "body": "bytea"},
)
MEMBER: Final = Table(
    "member",
    4,
    _CONV
    | {
        "user_id": "text",
        "from_seq": "bigint",
        "from_ordinal": "bigint",
        "until_seq": "bigint",
        "role": "text",
    },
)
MENTION: Final = Table("mention", 4, _CONV | {"user_id": "text", "seq": "bigint"})
CURSOR: Final = Table(
    "cursor",
    3,
    _CONV | {"user_id": "text", "read_seq": "bigint", "read_ordinal": "bigint", "delivered_seq": "bigint"},
)
INBOX: Final = Table(
    "inbox",
    3,
    _USER | {"conv": "text", "shard": "smallint", "joined_seq": "bigint", "left_seq": "bigint"},
)
USER: Final = Table(
    "user_record",
    2,
    _USER
    | {"shard": "smallint", "name": "text", "avatar": "text", "properties": "bytea", "blocked": "boolean"}
    | {"updated_ms": "bigint", "home_region": "text"},
)

_PAGE = f"""
SELECT {LOG.names} FROM log WHERE shard = $1 AND (app, conv) > ($2 COLLATE "C", $3 COLLATE "C")
ORDER BY app, conv LIMIT {LOGS_MAX}
"""
_USERS_PAGE = f"""
SELECT {USER.names} FROM user_record WHERE shard = $1 AND (app, user_id) > ($2 COLLATE "C", $3 COLLATE "C")
ORDER BY app, user_id LIMIT {ENTRIES_MAX}
"""
_HEADS = """
SELECT found.* FROM unnest($1::text[], $2::text[]) AS wanted (app, conv)
CROSS JOIN LATERAL (SELECT app, conv, head FROM log WHERE log.app = wanted.app AND log.conv = wanted.conv) AS found
"""
_ENTRIES = f"""
SELECT found.* FROM unnest($1::text[], $2::text[], $3::bigint[]) AS wanted (app, conv, after)
CROSS JOIN LATERAL (
    SELECT {ENTRY.names} FROM entry
    WHERE entry.app = wanted.app AND entry.conv = wanted.conv AND seq > wanted.after ORDER BY seq LIMIT $4
) AS found
"""


def _of_logs(table: Table, condition: str = "") -> str:
    return f"""
SELECT found.* FROM unnest($1::text[], $2::text[], $3::bigint[]) AS wanted (app, conv, after)
CROSS JOIN LATERAL (
    SELECT {table.names} FROM {table.name} AS own WHERE own.app = wanted.app AND own.conv = wanted.conv {condition}
) AS found
"""


def _of_keys(table: Table, *keys: str) -> str:
    arrays = ", ".join(f"${at}::text[]" for at in range(1, len(keys) + 1))
    same = " AND ".join(f"own.{key} = wanted.{key}" for key in keys)
    return f"""
SELECT found.* FROM (SELECT DISTINCT * FROM unnest({arrays})) AS wanted ({", ".join(keys)})
CROSS JOIN LATERAL (SELECT {table.names} FROM {table.name} AS own WHERE {same}) AS found
"""


_LOGS = _of_keys(LOG, "app", "conv")
_MEMBERS = _of_logs(MEMBER)
_MENTIONS = _of_logs(MENTION, "AND seq > wanted.after")
_CURSORS = _of_logs(CURSOR)
_INBOXES = _of_keys(INBOX, "app", "user_id")
_SOME_CURSORS = _of_keys(CURSOR, "app", "conv", "user_id")
_SOME_USERS = _of_keys(USER, "app", "user_id")
# A body may have been erased over there since the entry was here before; everything else of an entry never changes.
_PUT_ENTRIES = ENTRY.upsert().replace(
    f"({ENTRY.names}) SELECT *", f"({ENTRY.names}, xid, number) SELECT *, '0'::xid8, 0"
)
_PUT_ENTRIES = (
    _PUT_ENTRIES.partition(" DO UPDATE")[0]
    + " DO UPDATE SET body = excluded.body WHERE entry.body <> excluded.body"
)
_COUNTS = """
SELECT count(*), coalesce(sum(head), 0), coalesce(sum(ordinal), 0), coalesce(sum(members), 0) FROM log WHERE shard = $1
"""


async def page_of_logs(connection: Connection, shard: int, after: LogKey) -> list[Row]:
    """The next logs of a shard, by key: rows of `LOG`."""
    return [tuple(row) for row in await connection.fetch(_PAGE, shard, *after)]


async def page_of_users(connection: Connection, shard: int, after: LogKey) -> list[Row]:
    """The next user records of a shard: rows of `USER`."""
    return [tuple(row) for row in await connection.fetch(_USERS_PAGE, shard, *after)]


async def heads(connection: Connection, keys: Sequence[LogKey]) -> dict[LogKey, int]:
    """How far these logs have been copied."""
    return {(app, conv): head for app, conv, head in await connection.fetch(_HEADS, *_columns(keys, 2))}


async def logs(connection: Connection, keys: Iterable[LogKey]) -> list[Row]:
    """The rows of these logs as they are now."""
    return [tuple(row) for row in await connection.fetch(_LOGS, *_columns(list(keys), 2))]


async def entries(connection: Connection, after: Mapping[LogKey, int]) -> list[Row]:
    """The next entries of each log beyond a seq: fewer than `ENTRIES_MAX` in all. Raises `StorageCorrupt` for a gap."""
    wanted = [(*key, seq) for key, seq in after.items()]
    limit = max(1, ENTRIES_MAX // max(1, len(wanted)))
    rows: list[Row] = [tuple(row) for row in await connection.fetch(_ENTRIES, *_columns(wanted, 3), limit)]
    last = {key: seq for key, seq in after.items() if seq}
    for app, conv, seq, *_ in rows:
        if last.get((app, conv), seq - 1) != seq - 1:
            raise StorageCorrupt(f"entry {seq} of {conv} in {app} does not follow the one before it")
        last[app, conv] = seq
    return rows


async def around(
    connection: Connection, after: Mapping[LogKey, int], *, members: Iterable[LogKey], cursors: bool
) -> list[tuple[Table, list[Row]]]:
    """What belongs to logs beside their entries: mentions, inboxes, `members` of some, cursors of all."""
    wanted = _columns([(*key, seq) for key, seq in after.items()], 3)
    some = _columns([(*key, 0) for key in members], 3)
    users = [(app, user) for app, conv in after if (user := account_user(conv)) is not None]
    return [
        (MEMBER, await _rows(connection, _MEMBERS, some)),
        (MENTION, await _rows(connection, _MENTIONS, wanted)),
        (INBOX, await _rows(connection, _INBOXES, _columns(users, 2))),
        *([(CURSOR, await _rows(connection, _CURSORS, wanted))] if cursors else []),
    ]


async def some_cursors(connection: Connection, keys: Sequence[Row]) -> list[Row]:
    """The cursors (app, conv, user) as they are now."""
    return await _rows(connection, _SOME_CURSORS, _columns(keys, 3))


async def some_users(connection: Connection, keys: Sequence[Row]) -> list[Row]:
    """The records of users (app, user) as they are now."""
    return await _rows(connection, _SOME_USERS, _columns(keys, 2))


async def counts(connection: Connection, shard: int) -> tuple[int, ...]:
    """Logs of a shard and the sums of their heads, ordinals and members: the same on both sides, or all is not well."""
    row = await connection.fetchrow(_COUNTS, shard)
    assert row is not None
    return tuple(map(int, row))


async def put(connection: Connection, rows: Iterable[tuple[Table, list[Row]]]) -> None:
    """Write rows over what is there, inside a transaction."""
    for table, own in rows:
        if own:
            sql = _PUT_ENTRIES if table is ENTRY else table.upsert()
            await connection.execute(sql, *_columns(own, len(table.columns)))


def with_members(rows: Iterable[Row]) -> list[LogKey]:
    """The logs among whose entries are some that may have changed the members."""
    return list(dict.fromkeys((row[0], row[1]) for row in rows if row[4] != MESSAGE))


async def _rows(connection: Connection, sql: str, columns: Sequence[Sequence[Any]]) -> list[Row]:
    return [tuple(row) for row in await connection.fetch(sql, *columns)] if columns[0] else []


def _columns(rows: Sequence[Row], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) or [()] * width
