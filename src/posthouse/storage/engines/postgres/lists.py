"""A user's conversations: which they follow, where those stand, and the list with unread counts.

The inbox lies with the user and may lag behind; who is a member is asked of the conversations themselves.
"""

from collections.abc import Sequence
from typing import Any, Final

from posthouse.model.conversation import Kind, Role
from posthouse.model.ids import account_id
from posthouse.protocol.frames import Summary
from posthouse.storage.base import Inbox, Listed, UserConv
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.keys import possible, possible_only
from posthouse.storage.engines.postgres.reading import ENTRY_COLUMNS, entry_of
from posthouse.storage.marks import Mark

_INBOXES = """
SELECT coalesce((SELECT head FROM log WHERE app = $1 AND conv = wanted.log), 0),
    ARRAY(
        SELECT conv FROM inbox
        WHERE inbox.app = $1 AND inbox.user_id = wanted.user_id AND joined_seq > left_seq
    ),
    ARRAY(
        SELECT conv FROM inbox
        WHERE inbox.app = $1 AND inbox.user_id = wanted.user_id AND joined_seq <= left_seq
    )
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS wanted (user_id, log, at)
ORDER BY at
"""
_MEMBERSHIPS = """
SELECT user_id, conv, from_seq FROM unnest($2::text[], $3::text[]) AS wanted (user_id, conv)
CROSS JOIN LATERAL (
    SELECT from_seq FROM member WHERE member.app = $1 AND member.conv = wanted.conv AND member.user_id = wanted.user_id
        AND until_seq IS NULL LIMIT 1
) AS membership
"""
_HEADS = """
SELECT found.* FROM unnest($2::text[]) AS wanted (conv)
CROSS JOIN LATERAL (SELECT conv, head FROM log WHERE log.app = $1 AND log.conv = wanted.conv LIMIT 1) AS found
"""

# The newest interval decides: a member of today, or someone who left and still sees what was before. The page is cut
# out first; last entries, mentions and peers are looked up for its rows only. Mentions count beyond the floor.
_LISTED = f"""
WITH listed AS MATERIALIZED (
    SELECT log.*, newest.role, newest.from_seq, newest.from_ordinal, newest.until_seq IS NOT NULL AS has_left,
        coalesce(newest.until_seq, log.log_head) AS head, coalesce(read_seq, 0) AS read_seq,
        coalesce(read_ordinal, 0) AS read_ordinal, coalesce(delivered_seq, 0) AS delivered_seq, activity.at_ms
    FROM unnest($6::text[]) AS wanted (conv)
    CROSS JOIN LATERAL (
        SELECT conv, kind, title, head AS log_head, ordinal, first_seq, members, active_ms
        FROM log WHERE log.app = $1 AND log.conv = wanted.conv LIMIT 1
    ) AS log
    CROSS JOIN LATERAL (
        SELECT * FROM member WHERE member.app = $1 AND member.conv = wanted.conv AND member.user_id = $2
        ORDER BY from_seq DESC LIMIT 1
    ) AS newest
    CROSS JOIN LATERAL (
        SELECT CASE WHEN newest.until_seq IS NULL THEN log.active_ms ELSE (
            SELECT at_ms FROM entry WHERE app = $1 AND conv = wanted.conv AND seq = newest.until_seq
        ) END AS at_ms
    ) AS activity
    LEFT JOIN LATERAL (
        SELECT read_seq, read_ordinal, delivered_seq FROM cursor
        WHERE cursor.app = $1 AND cursor.conv = wanted.conv AND cursor.user_id = $2 LIMIT 1
    ) AS cursor ON true
    WHERE (activity.at_ms, log.conv) < ($3, $4 COLLATE "C")
    ORDER BY activity.at_ms DESC, log.conv DESC LIMIT $5
)
SELECT listed.conv, listed.kind, title, listed.ordinal, first_seq, members, role, from_seq, from_ordinal, has_left,
    head, read_seq, read_ordinal, delivered_seq, listed.at_ms,
    CASE WHEN has_left THEN 0 ELSE (
        SELECT count(*) FROM mention WHERE mention.app = $1 AND mention.conv = listed.conv
            AND mention.user_id = $2 AND mention.seq > greatest(read_seq, from_seq)
    ) END AS mentions,
    CASE WHEN listed.kind = '{Kind.DIRECT}' THEN (
        SELECT user_id FROM member WHERE app = $1 AND conv = listed.conv AND user_id <> $2 LIMIT 1
    ) END AS peer,
    last.*
FROM listed LEFT JOIN LATERAL (
    SELECT {ENTRY_COLUMNS} FROM entry
    WHERE entry.app = $1 AND entry.conv = listed.conv AND entry.seq = listed.head LIMIT 1
) AS last ON true
ORDER BY listed.at_ms DESC, listed.conv DESC
"""
_FACTS: Final = 17
"""Columns of `_LISTED` before those of the last entry."""
_ACTIVE_MS: Final = 14
"""The column of `_LISTED` by which the list is ordered."""


async def inboxes(connection: Connection, app: str, users: Sequence[str]) -> list[Inbox]:
    """As `Log.inboxes` says."""
    known = possible_only(users)
    rows = await connection.fetch(_INBOXES, app, known, list(map(account_id, known)))
    found = {
        user: Inbox(user, head, tuple(convs), tuple(left))
        for user, (head, convs, left) in zip(known, rows, strict=True)
    }
    return [found.get(user, Inbox(user, 0, ())) for user in users]


async def memberships(connection: Connection, app: str, pairs: Sequence[UserConv]) -> list[int]:
    """As `Log.memberships` says."""
    known = [pair for pair in pairs if all(map(possible, pair))]
    users, convs = zip(*known, strict=True) if known else ((), ())
    rows = await connection.fetch(_MEMBERSHIPS, app, users, convs)
    found = {(user, conv): int(from_seq) for user, conv, from_seq in rows}
    return [found.get(pair, 0) for pair in pairs]


async def heads(connection: Connection, app: str, convs: Sequence[str]) -> dict[str, int]:
    """As `Log.heads` says."""
    return dict(await connection.fetch(_HEADS, app, possible_only(convs)))


async def summaries(
    connection: Connection, app: str, user: str, convs: Sequence[str], below: Mark, limit: int
) -> list[Listed]:
    """As `Log.summaries` says."""
    if not possible(user):
        return []
    rows = await connection.fetch(_LISTED, app, user, *below, limit, possible_only(convs))
    return [Listed(row[_ACTIVE_MS], _summary(tuple(row))) for row in rows]


def _summary(row: Sequence[Any]) -> Summary:
    """The item of the user's list. Nothing counts as unread in a conversation that the user has left."""
    conv, kind, title, ordinal, first_seq, members, role, from_seq, from_ordinal, left, head = row[:11]
    read, read_ordinal, delivered, _, mentions, peer = row[11:_FACTS]
    return Summary(
        conv=conv,
        kind=Kind(kind),
        role=Role(role),
        head=head,
        first_seq=first_seq,
        joined_seq=from_seq,
        title=title,
        peer=peer or "",
        members=members,
        unread=0 if left else ordinal - max(read_ordinal, from_ordinal),
        mentions=mentions,
        read=read,
        delivered=delivered,
        left=left,
        last=None if row[_FACTS] is None else entry_of(row[_FACTS:]),
    )
