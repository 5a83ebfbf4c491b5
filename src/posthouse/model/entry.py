"""An entry: one numbered item of a log. A clear envelope and a body that the server need not read. Pure.

Kinds the server knows change state or count as unread; unknown kinds are stored and passed on.
"""

from typing import Final

import msgspec

MESSAGE: Final = "message"
CREATED: Final = "conversation.created"
CHANGED: Final = "conversation.changed"
MEMBER_JOINED: Final = "member.joined"
MEMBER_LEFT: Final = "member.left"
MEMBER_ROLE: Final = "member.role"
ACCOUNT_JOINED: Final = "conversation.joined"
ACCOUNT_LEFT: Final = "conversation.left"

CUSTOM_PREFIX: Final = "x."
"""Clients may send `message` and any kind that begins so; the other kinds are the server's."""

COUNTING_KINDS: Final = frozenset({MESSAGE})
"""Kinds that raise a conversation's unread count: only they take an ordinal of their own."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of a log, as stored, as pushed, and as fetched.

    `seq` counts 1, 2, 3 … within the log. `ordinal` is how many entries up to and including this one count as
    unread. `at_ms` is the database's time of the commit, for display only. `body` is one JSON object.
    `client_id` is shown with the device that chose it, so that a sender recognises its own entry.
    """

    conv: str
    seq: int
    kind: str
    at_ms: int
    ordinal: int
    body: msgspec.Raw
    sender: str = ""
    device: str = ""
    client_id: str = ""
    reply_to: int = 0
    mentions: tuple[str, ...] = ()
