"""From committed entries to gateways: one bus message to each gateway that has a recipient.

Routes that are unknown are never read as "nobody": then every known gateway is told.
"""

from collections.abc import Sequence

from posthouse.bus.base import Bus, BusUnavailable
from posthouse.cache.base import LogKey, Routes
from posthouse.messaging.notes import BlockNote, CursorsNote, EntryNote, HeadsNote, Note, encode_notes


class Publisher:
    """Sends notes where they are wanted. Losing one is allowed: the feed's repair reader makes up for it."""

    def __init__(self, bus: Bus, routes: Routes, gateways: Sequence[str]) -> None:
        self._bus = bus
        self._routes = routes
        self._gateways = tuple(gateways)
        self.published = 0
        self.lost = 0

    async def entries(self, notes: Sequence[EntryNote | CursorsNote]) -> None:
        """Send each note to the gateways that follow its log, all notes of one gateway in one message."""
        wanted = await self._routes.gateways([(note.app, note.conv) for note in notes])
        outgoing: dict[str, list[Note]] = {}
        for note, gateways in zip(notes, wanted, strict=True):
            for gateway in self._gateways if gateways is None else gateways:
                outgoing.setdefault(gateway, []).append(note)
        await self._send(outgoing)

    async def heads(self, app: str, heads: dict[str, int]) -> None:
        """Tell the gateways concerned how far these logs go."""
        keys: list[LogKey] = [(app, conv) for conv in heads]
        concerned: dict[str, dict[str, int]] = {}
        for (_, conv), gateways in zip(keys, await self._routes.gateways(keys), strict=True):
            for gateway in self._gateways if gateways is None else gateways:
                concerned.setdefault(gateway, {})[conv] = heads[conv]
        await self._send({gateway: [HeadsNote(app, part)] for gateway, part in concerned.items()})

    async def block(self, app: str, user: str) -> None:
        """Tell every gateway that a user is blocked."""
        await self._send({gateway: [BlockNote(app, user)] for gateway in self._gateways})

    async def _send(self, outgoing: dict[str, list[Note]]) -> None:
        for gateway, notes in outgoing.items():
            try:
                await self._bus.publish(gateway, encode_notes(notes))
                self.published += 1
            except BusUnavailable:
                self.lost += len(notes)
