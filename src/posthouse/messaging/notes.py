"""What travels on the bus between the node that commits and the gateways that deliver: notes, as MessagePack. Pure."""

from collections.abc import Callable

import msgspec


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


Note = EntryNote | CursorsNote | HeadsNote | BlockNote

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Note]).decode
_decode_raw = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_one: Callable[[msgspec.Raw], Note] = msgspec.msgpack.Decoder(Note).decode


def encode_notes(notes: list[Note]) -> bytes:
    """One bus message of several notes, in order."""
    return _encode(notes)


def decode_notes(message: bytes) -> list[Note]:
    """The notes of a bus message. Those that only a newer node knows are passed over: a note is a hint.

    Raises `msgspec.DecodeError` for bytes that no node has sent.
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
