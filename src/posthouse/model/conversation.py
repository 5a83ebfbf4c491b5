"""Conversations and their members, as values. Pure."""

from enum import StrEnum

import msgspec

MEMBERS_MAX = 10_000


class Kind(StrEnum):
    """What a log is. `account` is a user's own log; the other three are conversations."""

    DIRECT = "direct"
    GROUP = "group"
    CHANNEL = "channel"
    ACCOUNT = "account"


class Role(StrEnum):
    """What a member may do: `reader` only reads, `member` sends, `admin` manages, `owner` also manages admins."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    READER = "reader"


class History(StrEnum):
    """Which entries a newcomer sees: `all`, or those from their own `member.joined` on."""

    ALL = "all"
    JOINED = "joined"


MANAGING_ROLES = frozenset({Role.OWNER, Role.ADMIN})


class Interval(msgspec.Struct, frozen=True):
    """A stretch of a member's presence, in seq, both ends included; `until_seq` is None while it lasts."""

    from_seq: int
    until_seq: int | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One current member of a conversation, with how far they have read and received."""

    user: str
    role: Role
    joined_seq: int
    read_seq: int = 0
    delivered_seq: int = 0


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation's clear facts. `first_seq` is the oldest entry still kept; `properties` one JSON object."""

    conv: str
    kind: Kind
    head: int
    first_seq: int = 1
    title: str = ""
    history: History = History.JOINED
    members: int = 0
    created_ms: int = 0
    properties: msgspec.Raw = msgspec.Raw(b"{}")


def may_send(kind: Kind, role: Role) -> bool:
    """True when a member with `role` may send to a conversation of this kind."""
    return kind is not Kind.ACCOUNT and role is not Role.READER
