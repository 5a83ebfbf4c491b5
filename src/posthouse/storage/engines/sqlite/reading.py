"""Reads of one log: its entries as a member may see them, its facts, its members. Runs in the reader threads."""

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from posthouse.model.conversation import Conversation, History, Interval, Kind, Member, Role
from posthouse.model.entry import Entry
from posthouse.storage.base import Page, Refused
from posthouse.storage.engines.sqlite.transaction import viewing
from posthouse.storage.visible import LogFacts, Span, View, page_of, view_of, within

ENTRY_COLUMNS = "conv, seq, kind, at_ms, ordinal, body, sender, device, client_id, reply_to, mentions"

_LOG = "SELECT kind, history, head, first_seq FROM log WHERE app = ? AND conv = ?"
_INTERVALS = (
    "SELECT from_seq, until_seq FROM member WHERE app = ? AND conv = ? AND user = ? ORDER BY from_seq"
)
_ENTRIES = f"SELECT {ENTRY_COLUMNS} FROM entry WHERE app = ? AND conv = ? AND seq BETWEEN ? AND ?"
_RISING = f"{_ENTRIES} ORDER BY seq LIMIT ?"
_FALLING = f"{_ENTRIES} ORDER BY seq DESC LIMIT ?"
_CONVERSATION = """SELECT kind, head, first_seq, title, history, members, created_ms, properties
    FROM log WHERE app = ? AND conv = ?"""
_MEMBERS = """SELECT user, role, from_seq, coalesce(read_seq, 0), coalesce(delivered_seq, 0)
    FROM member LEFT JOIN cursor USING (app, conv, user)
    WHERE app = ? AND conv = ? AND until_seq IS NULL"""
_MEMBERS_AFTER = f"{_MEMBERS} AND user > ? ORDER BY user LIMIT ?"
_MEMBER = f"{_MEMBERS} AND user = ?"

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


def read(
    connection: apsw.Connection,
    app: str,
    conv: str,
    user: str | None,
    after: int | None,
    before: int | None,
    limit: int,
    bytes_max: int,
) -> Page | Refused:
    """As `Log.read` says."""
    rising = after is not None
    with viewing(connection):
        view = _view(connection, app, conv, user)
        if isinstance(view, Refused):
            return view
        asked = within(view.spans, after, before)
        entries = _entries(connection, app, conv, asked, rising, limit, bytes_max)
    return page_of(view, asked, entries, rising)


def _view(connection: apsw.Connection, app: str, conv: str, user: str | None) -> View | Refused:
    row = connection.execute(_LOG, (app, conv)).fetchone()
    log = None if row is None else LogFacts(Kind(row[0]), History(row[1]), row[2], row[3])
    intervals = connection.execute(_INTERVALS, (app, conv, user)) if user is not None else ()
    return view_of(conv, log, user, [Interval(*each) for each in intervals])


def _entries(
    connection: apsw.Connection,
    app: str,
    conv: str,
    spans: Sequence[Span],
    rising: bool,
    limit: int,
    bytes_max: int,
) -> list[Entry]:
    """The entries of the spans, in reading order, up to the limits."""
    found: list[Entry] = []
    size = 0
    for span in spans:
        rows = connection.execute(_RISING if rising else _FALLING, (app, conv, *span, limit - len(found)))
        for row in rows:
            entry = entry_of(row)
            size += len(entry.body)
            if found and size > bytes_max:
                return found
            found.append(entry)
        if len(found) >= limit:
            break
    return found


def conversation(connection: apsw.Connection, app: str, conv: str) -> Conversation | None:
    """As `Log.conversation` says."""
    row = connection.execute(_CONVERSATION, (app, conv)).fetchone()
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


def members(connection: apsw.Connection, app: str, conv: str, after: str, limit: int) -> list[Member]:
    """As `Log.members` says."""
    return [_member(row) for row in connection.execute(_MEMBERS_AFTER, (app, conv, after, limit))]


def member(connection: apsw.Connection, app: str, conv: str, user: str) -> Member | None:
    """As `Log.member` says."""
    row = connection.execute(_MEMBER, (app, conv, user)).fetchone()
    return None if row is None else _member(row)


def _member(row: Sequence[Any]) -> Member:
    user, role, joined_seq, read_seq, delivered_seq = row
    return Member(
        user=user, role=Role(role), joined_seq=joined_seq, read_seq=read_seq, delivered_seq=delivered_seq
    )
