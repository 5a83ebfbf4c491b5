"""Reads of one log: its entries as a member may see them, its facts, its members.

Membership is read first and fresh, the entries it allows after that; entries do not change, so no snapshot spans both.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from posthouse.model.conversation import Conversation, History, Interval, Kind, Member, Role
from posthouse.model.entry import Entry
from posthouse.storage.base import Refused
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.keys import possible
from posthouse.storage.visible import LogFacts, Span, View, view_of

ENTRY_COLUMNS: Final = "conv, seq, kind, at_ms, ordinal, body, sender, device, client_id, reply_to, mentions"

# One row even when there is no such log: intervals and log are answered together or not at all.
_VIEW = """
SELECT log.kind, log.history, log.head, log.first_seq,
    ARRAY(SELECT from_seq FROM member WHERE app = $1 AND conv = $2 AND user_id = $3 ORDER BY from_seq),
    ARRAY(SELECT until_seq FROM member WHERE app = $1 AND conv = $2 AND user_id = $3 ORDER BY from_seq)
FROM log WHERE app = $1 AND conv = $2
"""
# `before` is the size of the bodies that come before an entry: the sum stops the walk along the index.
_ENTRIES = f"""
SELECT {ENTRY_COLUMNS} FROM (
    SELECT {ENTRY_COLUMNS},
        sum(octet_length(body)) OVER (ORDER BY seq {{order}} ROWS UNBOUNDED PRECEDING) AS size
    FROM entry WHERE app = $1 AND conv = $2 AND seq BETWEEN $3 AND $4
    ORDER BY seq {{order}} LIMIT $5
) AS walked
WHERE size <= $6 OR seq = $7
ORDER BY seq {{order}}
"""
RISING = _ENTRIES.format(order="ASC")
FALLING = _ENTRIES.format(order="DESC")
_CONVERSATION = """
SELECT kind, head, first_seq, title, history, members, created_ms, properties FROM log WHERE app = $1 AND conv = $2
"""
_MEMBERS = """
SELECT member.user_id, role, from_seq, coalesce(read_seq, 0), coalesce(delivered_seq, 0)
FROM member LEFT JOIN cursor USING (app, conv, user_id)
WHERE app = $1 AND conv = $2 AND until_seq IS NULL
"""
_MEMBERS_AFTER = f"{_MEMBERS} AND user_id > $3 ORDER BY user_id LIMIT $4"
_MEMBER = f"{_MEMBERS} AND user_id = $3"

_mentions = msgspec.json.Decoder(tuple[str, ...]).decode


def entry_of(row: Sequence[Any]) -> Entry:
    """An entry from a row of `ENTRY_COLUMNS`."""
    conv, seq, kind, at_ms, ordinal, body, sender, device, client_id, reply_to, mentions = row
    return Entry(
        conv=conv,
        seq=seq,
        kind=kind,
        at_ms=at_ms,
        ordinal=ordinal,
        body=msgspec.Raw(body),
        sender=sender,
        device=device,
        client_id=client_id,
        reply_to=reply_to,
        mentions=() if mentions is None else _mentions(mentions),
    )


async def view(connection: Connection, app: str, conv: str, user: str | None) -> View | Refused:
    """What `user` may see of a log now: asked of the primary only."""
    known = possible(conv) and possible(user or "")
    row = await connection.fetchrow(_VIEW, app, conv, user) if known else None
    if row is None:
        return view_of(conv, None, user, [])
    kind, history, head, first_seq, begins, ends = row
    intervals = list(map(Interval, begins, ends))
    return view_of(conv, LogFacts(Kind(kind), History(history), head, first_seq), user, intervals)


async def entries(
    connection: Connection,
    app: str,
    conv: str,
    spans: Sequence[Span],
    rising: bool,
    limit: int,
    bytes_max: int,
) -> list[Entry]:
    """The entries of the spans, in reading order, up to the limits; the first one however large it is."""
    found: list[Entry] = []
    for span in spans:
        left = bytes_max - sum(len(entry.body) for entry in found)
        whole = 0 if found else span.first if rising else span.last
        rows = await connection.fetch(
            RISING if rising else FALLING, app, conv, *span, limit - len(found), left, whole
        )
        found.extend(map(entry_of, rows))
        end = span.last if rising else span.first
        if len(found) >= limit or not rows or rows[-1]["seq"] != end:
            break
    return found


async def conversation(connection: Connection, app: str, conv: str) -> Conversation | None:
    """As `Log.conversation` says."""
    row = await connection.fetchrow(_CONVERSATION, app, conv) if possible(conv) else None
    if row is None:
        return None
    kind, head, first_seq, title, history, members, created_ms, properties = row
    return Conversation(
        conv=conv,
        kind=Kind(kind),
        head=head,
        first_seq=first_seq,
        title=title,
        history=History(history),
        members=members,
        created_ms=created_ms,
        properties=msgspec.Raw(properties),
    )


async def members(connection: Connection, app: str, conv: str, after: str, limit: int) -> list[Member]:
    """As `Log.members` says."""
    if not (possible(conv) and possible(after)):
        return []
    return [_member(row) for row in await connection.fetch(_MEMBERS_AFTER, app, conv, after, limit)]


async def member(connection: Connection, app: str, conv: str, user: str) -> Member | None:
    """As `Log.member` says."""
    known = possible(conv) and possible(user)
    row = await connection.fetchrow(_MEMBER, app, conv, user) if known else None
    return None if row is None else _member(row)


def _member(row: Sequence[Any]) -> Member:
    user, role, joined_seq, read_seq, delivered_seq = row
    return Member(
        user=user, role=Role(role), joined_seq=joined_seq, read_seq=read_seq, delivered_seq=delivered_seq
    )
