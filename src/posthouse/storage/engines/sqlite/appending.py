"""One batch of appends as one transaction: lock, load, plan, write, commit. Runs in the writer thread.

`BEGIN IMMEDIATE` takes the lock before anything is read (the hazard of deciding on an older snapshot). A commit whose
outcome is not known is settled by looking for its newest entry. Repeated sends are looked for when they are expected,
when an append would be refused, and when the unique index says that there is one.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import apsw
import msgspec

from posthouse.protocol.codes import Code
from posthouse.storage.append import Repeats, needs, plan, refused_for_now, unsure
from posthouse.storage.base import Append, Outcome, Refused, StorageError, as_refusal
from posthouse.storage.engines.sqlite.bulk import Bulk
from posthouse.storage.engines.sqlite.errors import OF_ONE_ROW, mapped
from posthouse.storage.engines.sqlite.loading import load, load_sent
from posthouse.storage.engines.sqlite.transaction import roll_back
from posthouse.storage.rows import EntryRow, LogRow, Plan

_ENTRIES = Bulk(
    """INSERT OR ROLLBACK INTO entry (app, conv, seq, shard, kind, sender, device, client_id, digest, at_ms, ordinal,
    body, reply_to, mentions) :rows""",
    14,
)
_NEW_LOGS = Bulk(
    """INSERT OR ROLLBACK INTO log (app, conv, shard, kind, history, head, ordinal, active_ms, members, created_ms,
    origin, title, properties) :rows""",
    13,
)
_HEADS = Bulk(
    """WITH moved (head, ordinal, active_ms, members, app, conv) AS (:rows)
    UPDATE OR ROLLBACK log SET head = moved.head, ordinal = moved.ordinal, active_ms = moved.active_ms,
    members = moved.members FROM moved WHERE log.app = moved.app AND log.conv = moved.conv""",
    6,
)
_JOINED = Bulk(
    """INSERT OR ROLLBACK INTO member (app, conv, user, from_seq, until_seq, from_ordinal, role) :rows""",
    7,
)
_MENTIONS = Bulk("INSERT OR ROLLBACK INTO mention (app, conv, user, seq) :rows", 4)
_CHANGED = """UPDATE member SET until_seq = ?, role = ?
    WHERE app = ? AND conv = ? AND user = ? AND from_seq = ?"""
_DESCRIBED = """UPDATE log SET title = coalesce(?, title), properties = coalesce(?, properties)
    WHERE app = ? AND conv = ?"""
_INBOX = """INSERT INTO inbox (app, user, conv, shard, joined_seq, left_seq) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET joined_seq = max(joined_seq, excluded.joined_seq),
    left_seq = max(left_seq, excluded.left_seq)"""
_IS_THERE = "SELECT 1 FROM entry WHERE app = ? AND conv = ? AND seq = ? AND digest = ?"


def append(
    connection: apsw.Connection,
    batch: Sequence[Append],
    now_ms: int,
    shards: int,
    repeats: Repeats,
    note: Callable[[StorageError], None],
) -> list[Outcome]:
    """Write a batch and answer each append once that is durable. `note` is told of what fails as a whole.

    An error that lies in one append is found by halving the batch, and harms only that one.
    """
    try:
        if not repeats.expected:
            with suppress(apsw.ConstraintError):
                return _transact(connection, batch, now_ms, shards, look=False)
        outcomes = _transact(connection, batch, now_ms, shards, look=True)
        repeats.note(outcomes)
        return outcomes
    except OF_ONE_ROW as error:
        if len(batch) == 1:
            return [Refused(Code.INVALID_REQUEST, f"the database does not take this entry: {error}")]
    except apsw.Error as error:
        note(mapped(error))
        return refusals(batch, mapped(error))
    half = len(batch) // 2
    first = append(connection, batch[:half], now_ms, shards, repeats, note)
    unsettled = refused_for_now(first)
    if unsettled is not None:
        return [*first, *[unsettled] * (len(batch) - half)]
    return [*first, *append(connection, batch[half:], now_ms, shards, repeats, note)]


def refusals(batch: Sequence[Append], error: StorageError) -> list[Outcome]:
    """All are to be repeated later."""
    return [as_refusal(error)] * len(batch)


def _transact(
    connection: apsw.Connection, batch: Sequence[Append], now_ms: int, shards: int, *, look: bool
) -> list[Outcome]:
    """Not having looked for repeated sends, raises `apsw.ConstraintError` where there is one."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        wanted = needs(batch)
        state = load(connection, wanted)
        state.sent.update(load_sent(connection, wanted.sends if look else ()))
        planned = plan(batch, state, now_ms, shards)
        if not look and (repeated := load_sent(connection, unsure(batch, planned))):
            state.sent.update(repeated)
            planned = plan(batch, state, now_ms, shards)
        if planned.entries:
            _write(connection, planned)
            _commit(connection, planned.entries[-1])
        return planned.outcomes
    finally:
        roll_back(connection)


def _commit(connection: apsw.Connection, newest: EntryRow) -> None:
    """Commit; an error is raised only when nothing was committed.

    What is visible after the rollback was synced first: SQLite shows a commit only then.
    """
    try:
        connection.execute("COMMIT")
    except apsw.Error:
        roll_back(connection)
        key = (newest.app, newest.conv, newest.seq, newest.digest)
        if not connection.execute(_IS_THERE, key).fetchall():
            raise


def _write(connection: apsw.Connection, planned: Plan) -> None:
    _NEW_LOGS.write(connection, [_new_log(log) for log in planned.created])
    _HEADS.write(
        connection,
        [(log.head, log.ordinal, log.active_ms, log.members, log.app, log.conv) for log in planned.moved],
    )
    _ENTRIES.write(connection, [_entry(entry) for entry in planned.entries])
    _MENTIONS.write(connection, planned.mentions)
    if planned.joined or planned.changed:
        _write_members(connection, planned)
    if planned.described:
        descriptions = [(log.title, log.properties, log.app, log.conv) for log in planned.described]
        connection.executemany(_DESCRIBED, descriptions)
    if planned.inbox:
        rows = [
            (row.app, row.user, row.conv, row.shard, row.joined_seq, row.left_seq) for row in planned.inbox
        ]
        connection.executemany(_INBOX, rows)


def _write_members(connection: apsw.Connection, planned: Plan) -> None:
    """Intervals that begin, and those begun earlier that end or get another role."""
    joined = [
        (row.app, row.conv, row.user, row.from_seq, row.until_seq, row.from_ordinal, row.role)
        for row in planned.joined
    ]
    _JOINED.write(connection, joined)
    changed = [
        (row.until_seq, row.role, row.app, row.conv, row.user, row.from_seq) for row in planned.changed
    ]
    connection.executemany(_CHANGED, changed)


def _new_log(log: LogRow) -> tuple[object, ...]:
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


def _entry(row: EntryRow) -> tuple[object, ...]:
    return (*row[:-1], msgspec.json.encode(row.mentions).decode() if row.mentions else None)
