"""The rows that a batch of appends reads and writes, in the shape every engine shares. Pure."""

from typing import NamedTuple

import msgspec

from posthouse.model.conversation import History, Kind, Role
from posthouse.storage.base import Outcome

LogKey = tuple[str, str]
"""app, conv"""
SendKey = tuple[str, str, str, str, str]
"""app, conv, sender, device, client_id: names one send for ever."""
MemberKey = tuple[str, str, str]
"""app, conv, user"""


class LogRow(msgspec.Struct, kw_only=True):
    """A log's state. `ordinal` and `active_ms` are the newest entry's; `origin` is the digest of its creation.

    `title` and `properties` are None where they stay as they are: an engine need not load them.
    """

    app: str
    conv: str
    shard: int
    kind: Kind
    history: History = History.JOINED
    head: int = 0
    ordinal: int = 0
    active_ms: int = 0
    members: int = 0
    created_ms: int = 0
    origin: bytes = b""
    title: str | None = None
    properties: bytes | None = None


class MemberRow(msgspec.Struct):
    """One interval of one user's membership. `from_ordinal` is the log's ordinal at `from_seq`."""

    app: str
    conv: str
    user: str
    role: Role
    from_seq: int
    from_ordinal: int
    until_seq: int | None = None


class Sent(NamedTuple):
    """An entry that is in the log, found by its `SendKey`."""

    seq: int
    at_ms: int
    ordinal: int
    digest: bytes


class EntryRow(NamedTuple):
    """An entry to be inserted. `digest` decides whether a repeated send has the same content."""

    app: str
    conv: str
    seq: int
    shard: int
    kind: str
    sender: str
    device: str
    client_id: str
    digest: bytes
    at_ms: int
    ordinal: int
    body: bytes
    reply_to: int
    mentions: tuple[str, ...]


class MentionRow(NamedTuple):
    """A member is mentioned in an entry."""

    app: str
    conv: str
    user: str
    seq: int


class InboxRow(NamedTuple):
    """A conversation in a user's list. Merged by the larger of both: a member while `joined_seq > left_seq`."""

    app: str
    user: str
    conv: str
    shard: int
    joined_seq: int
    left_seq: int


class Needs(NamedTuple):
    """What an engine loads for a batch, each key once. `logs` are sorted, and locked first, in this order."""

    logs: list[LogKey]
    sends: list[SendKey]
    members: list[MemberKey]


class State(NamedTuple):
    """What was found of `Needs`, read after the locks were held. `members` are current ones (`until_seq` None)."""

    logs: dict[LogKey, LogRow]
    sent: dict[SendKey, Sent]
    members: dict[MemberKey, MemberRow]


class Plan(NamedTuple):
    """One outcome for each append, in order, and the rows to write in the same transaction.

    A log is in one of `created` (insert) and `moved` (update head, ordinal, active_ms, members); of the moved, those in
    `described` also get the title and properties that are not None. `joined` are inserted as they are; `changed`
    update role and until_seq of the row (app, conv, user, from_seq).
    """

    outcomes: list[Outcome]
    entries: list[EntryRow]
    created: list[LogRow]
    moved: list[LogRow]
    described: list[LogRow]
    joined: list[MemberRow]
    changed: list[MemberRow]
    mentions: list[MentionRow]
    inbox: list[InboxRow]
