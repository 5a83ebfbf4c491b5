"""What travels on the bus between nodes: notes, as MessagePack, and who on a node handles which kind. Pure.

A note is a hint: losing one loses nothing that the log or the database does not tell again.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from posthouse.kit.malformed import MALFORMED
from posthouse.storage.base import FeedPosition


class EntryNote(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A committed entry. `frame` is the ready push; `origin` the session that has the ack instead; `left` the
    members whom this entry removes, so that they receive nothing after it."""

    app: str
    conv: str
    seq: int
    frame: bytes
    origin: str = ""
    left: tuple[str, ...] = ()


class CursorsNote(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A ready push of cursors for one conversation."""

    app: str
    conv: str
    frame: bytes


class HeadsNote(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The newest seq of logs that changed lately: gateways that have delivered less read the log."""

    app: str
    heads: dict[str, int]


class BlockNote(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The application blocked a user: their sessions end."""

    app: str
    user: str


class UnblockNote(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The application lifted a block."""

    app: str
    user: str


class OpenedNote(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A session of a device has opened: older ones of that device, on other nodes, make way. `conv` is the user's
    account log, which every gateway with a session of theirs follows."""

    app: str
    conv: str
    device: str
    session: str
    opened_ms: int


class WakeNote(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A membership was committed to this database: whoever runs its roster reads at once."""

    database: str


class EventsNote(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Decisions of a node, for the audit that every node keeps. Encoded by posthouse.cluster.events."""

    events: tuple[bytes, ...]


class DrainNote(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """An operator, or a remedy, has one node send its clients away within so many seconds, or (`undo`) serve again."""

    node: str
    within_s: float
    why: str
    undo: bool = False


class RebalanceNote(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """An operator has every node even out its sessions now."""

    why: str


class CoveredNote(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Repair has told this gateway all that concerns it in the feed of `database`, from `after` up to `until`, in the
    heads of this message and of those before it."""

    database: str
    after: FeedPosition
    until: FeedPosition


Note = (
    EntryNote
    | CursorsNote
    | HeadsNote
    | BlockNote
    | UnblockNote
    | OpenedNote
    | WakeNote
    | EventsNote
    | DrainNote
    | RebalanceNote
    | CoveredNote
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Note]).decode
_decode_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_one: Callable[[msgspec.Raw], Note] = msgspec.msgpack.Decoder(Note).decode


def encode_notes(notes: list[Note]) -> bytes:
    """One bus message of several notes, in order."""
    return _encode(notes)


def decode_notes(message: bytes) -> list[Note]:
    """The notes of a bus message. Those that only a newer node knows are passed over: a note is a hint.

    Raises one of `MALFORMED` for bytes that no node has sent.
    """
    try:
        return _decode(message)
    except msgspec.ValidationError:
        return [note for raw in _decode_raw(message) if (note := _known(raw)) is not None]


def _known(raw: msgspec.Raw) -> Note | None:
    try:
        return _decode_one(raw)
    except msgspec.ValidationError:
        return None


N = TypeVar("N", bound=Note)


class Handlers:
    """Who handles which kind of note on this node. Kinds that nobody handles are passed over."""

    def __init__(self) -> None:
        self._handlers: dict[type, Callable[[Any], None]] = {}
        self.unreadable = 0

    def on(self, kind: type[N], handle: Callable[[N], None]) -> None:
        """`handle` is called with each note of that kind."""
        self._handlers[kind] = handle

    def deliver(self, message: bytes) -> None:
        """One message from the bus. Bytes that no node has sent are counted and passed over (policy: drop)."""
        try:
            notes = decode_notes(message)
        except MALFORMED:
            self.unreadable += 1
            return
        self.hear(notes)

    def hear(self, notes: Sequence[Note]) -> None:
        """Notes, in order."""
        for note in notes:
            handle = self._handlers.get(type(note))
            if handle is not None:
                handle(note)
