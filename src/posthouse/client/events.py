"""What a client tells its application, as typed, frozen events. Pure.

Entries and changes of the user's conversations come exactly once and in order; the rest are notices of the moment,
left out (and counted) when the application does not read.
"""

from typing import Any

import msgspec

from posthouse.kit.malformed import MALFORMED
from posthouse.model.content import TEXT_KEY
from posthouse.model.conversation import Kind, Role
from posthouse.model.entry import CHANGED, CREATED, MEMBER_JOINED, MEMBER_LEFT, MEMBER_ROLE, MESSAGE, Entry
from posthouse.protocol.frames import MemberCursor

_decode_body = msgspec.json.Decoder(dict[str, Any]).decode


class Event(msgspec.Struct, frozen=True):
    """The base of all events."""


class EntryReceived(Event, frozen=True):
    """A new entry of one of the user's conversations: also the user's own, from this device or another."""

    entry: Entry
    own: bool = False
    """True when this device sent it."""

    @property
    def conv(self) -> str:
        """The conversation."""
        return self.entry.conv

    @property
    def seq(self) -> int:
        """The entry's number in the conversation."""
        return self.entry.seq

    @property
    def sender(self) -> str:
        """The user who sent it; empty when the server did."""
        return self.entry.sender

    @property
    def body(self) -> dict[str, Any]:
        """The entry's body, decoded."""
        return _decode_body(self.entry.body)


class MessageReceived(EntryReceived, frozen=True):
    """An entry of the kind `message`."""

    @property
    def text(self) -> str:
        """The message's text; empty when its body has none."""
        text = self.body.get(TEXT_KEY, "")
        return text if isinstance(text, str) else ""


class ConversationCreated(EntryReceived, frozen=True, kw_only=True):
    """The conversation's first entry. `roles` has those of `users` who are more, or less, than members."""

    kind: Kind
    users: tuple[str, ...]
    roles: dict[str, Role] = {}
    title: str = ""
    properties: dict[str, Any] = {}


class MembersJoined(EntryReceived, frozen=True, kw_only=True):
    """`users` are members from this entry on: they joined, or `sender` added them. `role` is None where not told."""

    users: tuple[str, ...]
    role: Role | None = None


class MembersLeft(EntryReceived, frozen=True, kw_only=True):
    """`users` are members no more: they left, or `sender` removed them."""

    users: tuple[str, ...]


class RoleChanged(EntryReceived, frozen=True, kw_only=True):
    """`users` (one of them, so far) have another role."""

    users: tuple[str, ...]
    role: Role


class ConversationChanged(EntryReceived, frozen=True, kw_only=True):
    """The conversation is described otherwise; None is what stays as it was."""

    title: str | None = None
    properties: dict[str, Any] | None = None


class ConversationJoined(Event, frozen=True):
    """The user is a member of `conv` from entry `joined_seq` on; entries follow from there. `seq`: account log."""

    conv: str
    joined_seq: int
    seq: int


class ConversationLeft(Event, frozen=True):
    """The user is no member of `conv` any more; entry `left_seq` is the last they may see. `seq`: account log."""

    conv: str
    left_seq: int
    seq: int


class CursorsMoved(Event, frozen=True):
    """Members of a small conversation have read or received further. A notice: the next one makes up for a lost one."""

    conv: str
    cursors: tuple[MemberCursor, ...]


class Connected(Event, frozen=True):
    """A session stands."""

    node: str
    session: str


class Resumed(Connected, frozen=True):
    """A session stands and took up where the last one stopped: only what was missed is fetched."""


class Disconnected(Event, frozen=True):
    """The connection is gone, or could not be made; the client comes back by itself in `retry_in_s` seconds."""

    code: int
    reason: str
    retry_in_s: float


class Reset(Event, frozen=True):
    """The server's log went back in time (restored from a backup): drop what you show, and read histories afresh."""

    reason: str


class ConversationReset(Event, frozen=True):
    """Entries not seen yet are no longer kept: drop what you show of `conv` and read its history afresh."""

    conv: str
    first_seq: int


class CatchUpFailed(Event, frozen=True):
    """What was missed in `conv` cannot be read, for the reason given; live entries wait until it can."""

    conv: str
    code: int
    reason: str


class SendFailed(Event, frozen=True):
    """A message was refused for good; also told of messages that an earlier run of the application had posted."""

    conv: str
    client_id: str
    code: int
    reason: str


def event_of(entry: Entry, own: bool = False) -> EntryReceived:
    """An entry, also one of a history, as the event that tells of it.

    What the server says of a conversation has types of its own, as a message has. An entry of an unknown kind, or
    with a body that is not what its kind has today, is an `EntryReceived`.
    """
    if entry.kind == MESSAGE:
        return MessageReceived(entry, own)
    kind = _TYPES.get(entry.kind)
    if kind is None:
        return EntryReceived(entry, own)
    try:
        return msgspec.convert(_decode_body(entry.body) | {"entry": entry, "own": own}, kind)
    except MALFORMED:
        return EntryReceived(entry, own)


_TYPES: dict[str, type[EntryReceived]] = {
    CREATED: ConversationCreated,
    CHANGED: ConversationChanged,
    MEMBER_JOINED: MembersJoined,
    MEMBER_LEFT: MembersLeft,
    MEMBER_ROLE: RoleChanged,
}
