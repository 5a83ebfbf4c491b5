"""One batch of appends inside a transaction: lock, then load, plan, write.

Under READ COMMITTED a statement sees what was committed when it *began*, and a lock may be waited for in the middle
of it. So the locks are a statement of their own, and whatever is decided upon is read by the statements after it.
Each locker sorts, so no two wait for each other. A log that two create at once is left to the primary key. Whether the
shards are this database's is read with the rest: they cannot be moved while the transaction lasts (see `ownership`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from posthouse.model.conversation import History, Kind, Role
from posthouse.model.ids import shard_of
from posthouse.protocol.codes import Code
from posthouse.storage.append import plan, unsure
from posthouse.storage.base import Append, Outcome, Refused
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.ownership import STATE, note
from posthouse.storage.rows import EntryRow, InboxRow, LogKey, LogRow, MemberRow, Needs, Plan, Sent, State

KEY_SEPARATOR = "\x1f"
"""Between the parts of a send's key in the index `entry_send`; only `client_id`, the last part, may contain it."""

# `LATERAL (… LIMIT 1)` here and elsewhere is one look into an index for each key, in the keys' order, whatever the
# planner believes of the tables: before it has gathered statistics it would rather read them whole.
_LOCK = """
SELECT found.* FROM unnest($1::text[], $2::text[]) AS wanted (app, conv)
CROSS JOIN LATERAL (
    SELECT app, conv, shard, kind, history, head, ordinal, active_ms, members, created_ms, origin
    FROM log WHERE log.app = wanted.app AND log.conv = wanted.conv LIMIT 1 FOR UPDATE
) AS found
"""

# One round trip for four questions; the first column says which one a row answers, the second which key.
_SENT, _MEMBER, _NOW, _SHARD = 0, 1, 2, 3
_LOAD = f"""
SELECT {_SENT}, at, found.*, NULL AS role FROM unnest($1::text[]) WITH ORDINALITY AS wanted (key, at)
CROSS JOIN LATERAL (
    SELECT seq, at_ms, ordinal, digest FROM entry
    WHERE app || chr(31) || conv || chr(31) || sender || chr(31) || device || chr(31) || client_id = wanted.key LIMIT 1
) AS found
UNION ALL
SELECT {_MEMBER}, at, from_seq, from_ordinal, NULL, NULL, role
FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS wanted (app, conv, user_id, at)
CROSS JOIN LATERAL (
    SELECT from_seq, from_ordinal, role FROM member
    WHERE member.app = wanted.app AND member.conv = wanted.conv AND member.user_id = wanted.user_id
        AND until_seq IS NULL LIMIT 1
) AS found
UNION ALL
SELECT {_NOW}, 0, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, NULL, NULL, NULL, NULL
UNION ALL
SELECT {_SHARD}, shard, writable::integer, noted::integer, NULL, NULL, NULL
FROM (SELECT shard, {STATE} FROM shard WHERE shard = ANY($5::smallint[])) AS own
"""

# What nearly every batch writes, in one round trip. The two parts touch different tables, so it does not matter that
# they share a snapshot.
_WRITE = """
WITH written AS (
    INSERT INTO entry (app, conv, seq, shard, kind, sender, device, client_id, digest, at_ms, ordinal, body, reply_to,
        mentions, number)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::smallint[], $5::text[], $6::text[], $7::text[],
        $8::text[], $9::bytea[], $10::bigint[], $11::bigint[], $12::bytea[], $13::bigint[], $14::text[])
        WITH ORDINALITY
)
UPDATE log SET head = moved.head, ordinal = moved.ordinal, active_ms = moved.active_ms, members = moved.members
FROM unnest($15::text[], $16::text[], $17::bigint[], $18::bigint[], $19::bigint[], $20::integer[])
    AS moved (app, conv, head, ordinal, active_ms, members)
WHERE log.app = moved.app AND log.conv = moved.conv
"""

_CREATE = """
INSERT INTO log (app, conv, shard, kind, history, head, ordinal, active_ms, members, created_ms, origin, title,
    properties)
SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
    $8::bigint[], $9::integer[], $10::bigint[], $11::bytea[], $12::text[], $13::bytea[])
"""
_DESCRIBE = """
UPDATE log SET title = coalesce(described.title, log.title),
    properties = coalesce(described.properties, log.properties)
FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS described (app, conv, title, properties)
WHERE log.app = described.app AND log.conv = described.conv
"""
_JOIN = """
INSERT INTO member (app, conv, user_id, role, from_seq, from_ordinal, until_seq)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
"""
_CHANGE_MEMBERS = """
UPDATE member SET role = changed.role, until_seq = changed.until_seq
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
    AS changed (app, conv, user_id, role, from_seq, from_ordinal, until_seq)
WHERE member.app = changed.app AND member.conv = changed.conv AND member.user_id = changed.user_id
    AND member.from_seq = changed.from_seq
"""
_MENTION = """
INSERT INTO mention (app, conv, user_id, seq)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
"""
_INBOX = """
INSERT INTO inbox AS old (app, user_id, conv, shard, joined_seq, left_seq)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::bigint[], $6::bigint[])
ON CONFLICT (app, user_id, conv) DO UPDATE SET joined_seq = greatest(old.joined_seq, excluded.joined_seq),
    left_seq = greatest(old.left_seq, excluded.left_seq)
"""

_KINDS = {kind.value: kind for kind in Kind}
_HISTORIES = {history.value: history for history in History}
_ROLES = {role.value: role for role in Role}


MOVED: Final = Refused(Code.MOVED, "the conversation is being moved to another database, or has just been")


class Loaded(NamedTuple):
    """What a batch is planned on. `elsewhere` are shards that may not be written here; writes to `noted` are noted."""

    state: State
    now_ms: int
    elsewhere: set[int]
    noted: set[int]


async def append(
    connection: Connection,
    batch: Sequence[Append],
    wanted: Needs,
    own: Sequence[int],
    shards: int,
    *,
    look: bool = True,
) -> list[Outcome]:
    """The outcomes of a batch, true once the surrounding transaction has committed. Idempotent by `client_id`.

    `wanted` are the batch's needs, `own` the shards of its logs, which are locked. A batch of nothing but repeats
    commits synchronously as well, for a row lock is a change that is logged: so an entry that a commit cut short has
    left on this server alone is not confirmed before the standby has it.

    Not told to `look` for repeated sends, it does so only for those that would be refused, and fails on the unique
    index where there are others: then the caller repeats it and says `look`.
    """
    logs = await _lock(connection, wanted.logs)
    loaded = await _load(connection, wanted if look else wanted._replace(sends=[]), logs, own)
    if not loaded.elsewhere:
        return await _carry_out(connection, batch, loaded, shards, look)
    here = [
        at for at, each in enumerate(batch) if shard_of(each.app, each.conv, shards) not in loaded.elsewhere
    ]
    outcomes: list[Outcome] = [MOVED] * len(batch)
    done = await _carry_out(connection, [batch[at] for at in here], loaded, shards, look)
    for at, outcome in zip(here, done, strict=True):
        outcomes[at] = outcome
    return outcomes


async def _carry_out(
    connection: Connection, batch: Sequence[Append], loaded: Loaded, shards: int, look: bool
) -> list[Outcome]:
    planned = plan(batch, loaded.state, loaded.now_ms, shards)
    late = [] if look else unsure(batch, planned)
    if late:
        repeated = (await _load(connection, Needs([], late, []), {}, ())).state.sent
        planned = plan(batch, loaded.state._replace(sent=repeated), loaded.now_ms, shards)
    if planned.entries:
        await _write(connection, planned)
        if loaded.noted:
            noted = [
                (row.shard, row.app, row.conv, "") for row in planned.entries if row.shard in loaded.noted
            ]
            await note(connection, noted)
    return planned.outcomes


async def _lock(connection: Connection, keys: Sequence[LogKey]) -> dict[LogKey, LogRow]:
    """Lock the logs that exist, in order, and return them as they are now that nobody else may change them."""
    if not keys:
        return {}
    found = await connection.fetch(_LOCK, *_columns(keys))
    return {
        (app, conv): LogRow(
            app=app,
            conv=conv,
            shard=shard,
            kind=_KINDS[kind],
            history=_HISTORIES[history],
            head=head,
            ordinal=ordinal,
            active_ms=active_ms,
            members=members,
            created_ms=created_ms,
            origin=origin,
        )
        for app, conv, shard, kind, history, head, ordinal, active_ms, members, created_ms, origin in found
    }


async def _load(
    connection: Connection, wanted: Needs, logs: dict[LogKey, LogRow], own: Sequence[int]
) -> Loaded:
    """What the planner needs, read after the locks are held, the database's time, and whose the shards are."""
    keys = list(map(KEY_SEPARATOR.join, wanted.sends))
    state = State(logs, {}, {})
    now_ms = 0
    elsewhere: set[int] = set()
    noted: set[int] = set()
    rows = await connection.fetch(_LOAD, keys, *_columns(wanted.members, 3), own)
    for what, at, a, b, c, digest, role in rows:
        if what == _MEMBER:
            app, conv, user = wanted.members[at - 1]
            state.members[app, conv, user] = MemberRow(app, conv, user, _ROLES[role], a, b)
        elif what == _SENT:
            state.sent[wanted.sends[at - 1]] = Sent(a, b, c, digest)
        elif what == _NOW:
            now_ms = a
        elif not a:
            elsewhere.add(at)
        elif b:
            noted.add(at)
    return Loaded(state, now_ms, elsewhere, noted)


async def _write(connection: Connection, planned: Plan) -> None:
    if planned.created:
        created = sorted(planned.created, key=lambda log: (log.app, log.conv))
        await connection.execute(_CREATE, *_columns(map(_new_log, created)))
    entries = _columns(map(_entry, planned.entries))
    moved = [(log.app, log.conv, log.head, log.ordinal, log.active_ms, log.members) for log in planned.moved]
    await connection.execute(_WRITE, *entries, *_columns(moved, 6))
    if planned.described:
        described = [(log.app, log.conv, log.title, log.properties) for log in planned.described]
        await connection.execute(_DESCRIBE, *_columns(described))
    if planned.joined:
        await connection.execute(_JOIN, *_columns(map(_member, planned.joined)))
    if planned.changed:
        await connection.execute(_CHANGE_MEMBERS, *_columns(map(_member, planned.changed)))
    if planned.mentions:
        await connection.execute(_MENTION, *_columns(planned.mentions))
    if planned.inbox:
        await connection.execute(_INBOX, *_columns(_merged(planned.inbox)))


def _columns(rows: Iterable[Sequence[Any]], width: int = 0) -> Sequence[Sequence[Any]]:
    """Rows turned into columns, as `unnest` takes them; `width` empty ones when there are no rows."""
    return list(zip(*rows, strict=True)) or [()] * width


def _entry(row: EntryRow) -> Sequence[Any]:
    return (*row[:-1], msgspec.json.encode(row.mentions).decode() if row.mentions else None)


def _new_log(log: LogRow) -> Sequence[Any]:
    return (
        log.app,
        log.conv,
        log.shard,
        log.kind,
        log.history,
        log.head,
        log.ordinal,
        log.active_ms,
        log.members,
        log.created_ms,
        log.origin,
        log.title,
        log.properties,
    )


def _member(row: MemberRow) -> Sequence[Any]:
    return (row.app, row.conv, row.user, row.role, row.from_seq, row.from_ordinal, row.until_seq)


def _merged(rows: Iterable[InboxRow]) -> list[InboxRow]:
    """One row for each conversation of a user: an upsert must not meet the same row twice."""
    merged: dict[tuple[str, str, str], InboxRow] = {}
    for row in rows:
        key = (row.app, row.user, row.conv)
        old = merged.get(key, row)
        merged[key] = row._replace(
            joined_seq=max(old.joined_seq, row.joined_seq), left_seq=max(old.left_seq, row.left_seq)
        )
    return list(merged.values())
