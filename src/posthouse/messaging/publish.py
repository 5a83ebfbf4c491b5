"""From committed entries to gateways: one bus message to each gateway that has a recipient.

Routes that are unknown are never read as "nobody": then every known gateway is told.
"""

from collections.abc import Iterator, Sequence

from posthouse.bus.base import MESSAGE_BYTES_MAX, Bus, BusUnavailable
from posthouse.cache.base import LogKey, Routes
from posthouse.messaging.notes import BlockNote, CursorsNote, EntryNote, HeadsNote, Note, encode_notes

HEADS_MAX = 10_000
"""Logs in one note, so that it fits into a message of the bus whatever their ids."""
NOTE_BYTES_MAX = 2_048
"""What a note takes beside its frame and the users that it removes, whom its frame names as well."""


class Publisher:
    """Sends notes where they are wanted. Losing some is allowed, but for heads: they make up for the others."""

    def __init__(self, bus: Bus, routes: Routes, gateways: Sequence[str]) -> None:
        self._bus = bus
        self._routes = routes
        self._gateways = tuple(gateways)
        self.published = 0
        self.lost = 0

    async def entries(self, notes: Sequence[EntryNote | CursorsNote]) -> None:
        """Send each note to the gateways that follow its log, all notes of one gateway in one message."""
        wanted = await self._routes.gateways([(note.app, note.conv) for note in notes], self._gateways)
        outgoing: dict[str, list[Note]] = {}
        for note, gateways in zip(notes, wanted, strict=True):
            for gateway in self._gateways if gateways is None else gateways:
                outgoing.setdefault(gateway, []).append(note)
        for gateway, own in outgoing.items():
            try:
                await self._send(gateway, own)
            except BusUnavailable:
                self.lost += len(own)

    async def heads(self, app: str, heads: dict[str, int]) -> None:
        """Tell the gateways concerned how far these logs go. Raises `BusUnavailable` when not all were told."""
        convs = list(heads)
        for start in range(0, len(convs), HEADS_MAX):
            await self._heads(app, {conv: heads[conv] for conv in convs[start : start + HEADS_MAX]})

    async def _heads(self, app: str, heads: dict[str, int]) -> None:
        keys: list[LogKey] = [(app, conv) for conv in heads]
        concerned: dict[str, dict[str, int]] = {}
        for (_, conv), gateways in zip(keys, await self._routes.gateways(keys, self._gateways), strict=True):
            for gateway in self._gateways if gateways is None else gateways:
                concerned.setdefault(gateway, {})[conv] = heads[conv]
        for gateway, own in concerned.items():
            await self._send(gateway, [HeadsNote(app, own)])

    async def block(self, app: str, user: str) -> None:
        """Tell every gateway that a user is blocked. Raises `BusUnavailable` when not all were told."""
        for gateway in self._gateways:
            await self._send(gateway, [BlockNote(app, user)])

    async def _send(self, gateway: str, notes: Sequence[Note]) -> None:
        for message in _messages(notes):
            await self._bus.publish(gateway, encode_notes(message))
            self.published += 1


def _messages(notes: Sequence[Note]) -> Iterator[list[Note]]:
    """The notes in order, in as few messages as the bus takes."""
    message: list[Note] = []
    size = 0
    for note in notes:
        own = _size(note)
        if message and size + own > MESSAGE_BYTES_MAX:
            yield message
            message, size = [], 0
        message.append(note)
        size += own
    if message:
        yield message


def _size(note: Note) -> int:
    if isinstance(note, EntryNote):
        return NOTE_BYTES_MAX + len(note.frame) * (2 if note.left else 1)
    return NOTE_BYTES_MAX + (len(note.frame) if isinstance(note, CursorsNote) else 0)
