"""Cursors: how far members have read and received."""

from collections.abc import Sequence

from posthouse.model.conversation import MEMBERS_MAX
from posthouse.model.cursor import Cursor
from posthouse.model.ids import INTEGER_MAX, shard_of
from posthouse.protocol.frames import MemberCursor
from posthouse.storage.base import CursorUpdate, Moved
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.keys import possible, possible_only
from posthouse.storage.engines.postgres.ownership import guard, note

# Only of current members, never past the head, never back; what is read has been delivered. Rows are locked in
# sorted order, so that two nodes that move the same cursors do not wait for each other; a cursor that stays where it is
# is locked all the same, which makes COMMIT wait until it is safe.
_ADVANCE = """
INSERT INTO cursor AS old (app, conv, user_id, read_seq, read_ordinal, delivered_seq)
SELECT said.app, said.conv, said.user_id, least(read_seq, head),
    coalesce((
        SELECT entry.ordinal FROM entry
        WHERE entry.app = said.app AND entry.conv = said.conv AND seq = least(read_seq, head)
    ), 0),
    least(greatest(read_seq, delivered_seq), head)
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
    AS said (app, conv, user_id, read_seq, delivered_seq)
CROSS JOIN LATERAL (SELECT head FROM log WHERE log.app = said.app AND log.conv = said.conv LIMIT 1) AS log
CROSS JOIN LATERAL (
    SELECT FROM member WHERE member.app = said.app AND member.conv = said.conv AND member.user_id = said.user_id
        AND until_seq IS NULL LIMIT 1
) AS is_member
ORDER BY said.app, said.conv, said.user_id
ON CONFLICT (app, conv, user_id) DO UPDATE SET read_seq = greatest(old.read_seq, excluded.read_seq),
    read_ordinal = greatest(old.read_ordinal, excluded.read_ordinal),
    delivered_seq = greatest(old.delivered_seq, excluded.delivered_seq)
WHERE old.read_seq < excluded.read_seq OR old.delivered_seq < excluded.delivered_seq
RETURNING app, user_id, conv, read_seq, delivered_seq
"""
_OF_MEMBERS = """
SELECT member.user_id, coalesce(read_seq, 0), coalesce(delivered_seq, 0)
FROM member LEFT JOIN cursor USING (app, conv, user_id)
WHERE app = $1 AND conv = $2 AND until_seq IS NULL
"""
_OF_ALL = f"{_OF_MEMBERS} ORDER BY user_id LIMIT {MEMBERS_MAX}"
_OF_SOME = f"{_OF_MEMBERS} AND user_id = ANY($3::text[]) ORDER BY user_id"


async def advance(
    connection: Connection, updates: Sequence[CursorUpdate], own: Sequence[int], shards: int
) -> list[CursorUpdate]:
    """As `Log.advance` says, inside a transaction that has locked the shards `own`, those of the conversations."""
    elsewhere, noted = await guard(connection, own)
    if elsewhere:
        raise Moved(f"shards {sorted(elsewhere)} are written elsewhere now")
    furthest: dict[tuple[str, str, str], tuple[int, int]] = {}
    for app, user, cursor in updates:
        key = (app, cursor.conv, user)
        if all(map(possible, key)):
            read, delivered = furthest.get(key, (0, 0))
            furthest[key] = max(read, cursor.read), max(delivered, cursor.delivered)
    rows = [(*key, *(min(seq, INTEGER_MAX) for seq in seqs)) for key, seqs in sorted(furthest.items())]
    stored = await connection.fetch(_ADVANCE, *zip(*rows, strict=True)) if rows else []
    if noted:
        moved = [(shard_of(app, conv, shards), app, conv, user) for app, user, conv, *_ in stored]
        await note(connection, [row for row in moved if row[0] in noted])
    return [CursorUpdate(app, user, Cursor(*at)) for app, user, *at in stored]


async def cursors(connection: Connection, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
    """As `Log.cursors` says."""
    if not possible(conv):
        return []
    if users:
        rows = await connection.fetch(_OF_SOME, app, conv, possible_only(users))
    else:
        rows = await connection.fetch(_OF_ALL, app, conv)
    return [MemberCursor(*row) for row in rows]
