"""From committed entries to gateways: to the own one by a call, to each other one that has a recipient by one message.

Local delivery depends on neither cache nor bus. Routes that are unknown are never read as "nobody": then every live
gateway is told. What waits to be sent is bounded: beyond `WAITING_BYTES_MAX` the oldest is dropped, counted as lost,
and told later by the repair reader of the feed (policy: shed).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from posthouse.bus.base import MESSAGE_BYTES_MAX, Bus, BusUnavailable
from posthouse.cache.base import LogKey, Routes
from posthouse.messaging.notes import (
    CoveredNote,
    CursorsNote,
    EntryNote,
    EventsNote,
    HeadsNote,
    Note,
    OpenedNote,
    encode_notes,
)

HEADS_MAX = 10_000
"""Logs in one note, so that it fits into a message of the bus whatever their ids."""
NOTE_BYTES_MAX = 2_048
"""What a note takes beside its frame and the users that it removes, whom its frame names as well."""
WAITING_BYTES_MAX = 64 << 20
BATCH_NOTES_MAX: Final = 2_000
"""Notes whose routes are asked for in one question."""

Heads = dict[str, dict[str, int]]
"""app → log → its newest seq."""


class Publisher:
    """Sends notes where they are wanted. `peers` names the other live gateways; `run` is the loop that reaches them."""

    def __init__(self, bus: Bus, routes: Routes, peers: Callable[[], Sequence[str]] = lambda: ()) -> None:
        self._bus = bus
        self._routes = routes
        self._peers = peers
        self._waiting: deque[Note] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self.local: Callable[[Sequence[Note]], None] = lambda notes: None
        self.published = 0
        self.lost = 0

    def post(self, notes: Sequence[Note]) -> None:
        """Deliver to the own gateway now, and to the others that follow these logs as soon as possible, in order.

        Losing some on the way is allowed: the heads that the repair reader tells make up for them.
        """
        self.local(notes)
        if self._peers():
            self._waiting.extend(notes)
            self._waiting_bytes += sum(map(_size, notes))
            while self._waiting_bytes > WAITING_BYTES_MAX:
                self._waiting_bytes -= _size(self._waiting.popleft())
                self.lost += 1
            self._wake.set()

    async def run(self) -> None:
        """Send what waits, for ever. What is posted while a message is under way goes into the next one."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Send what waits now."""
        while self._waiting:
            notes = [self._waiting.popleft() for _ in range(min(BATCH_NOTES_MAX, len(self._waiting)))]
            self._waiting_bytes -= sum(map(_size, notes))
            await self._forward(notes)

    async def heads(
        self, heads: Heads, among: Sequence[str] | None = None, covered: CoveredNote | None = None
    ) -> dict[str, Heads]:
        """Tell the gateways concerned how far these logs go: of the live ones all, the own one included, or only those
        `among`. Returns what could not be handed over, by gateway: it must be told again.

        `covered` is for all of them, and goes in the message that the heads are in: it is not to arrive without them.
        """
        notes = [note for app, own in heads.items() for note in _heads_notes(app, own)]
        if among is None:
            self.local([*notes, covered] if covered is not None else notes)
        outgoing: dict[str, list[HeadsNote]] = {peer: [] for peer in self._peers() if covered is not None}
        for note in notes:
            for gateway, concerned in (await self._concerned(note, among)).items():
                outgoing.setdefault(gateway, []).append(HeadsNote(note.app, concerned))
        untold: dict[str, Heads] = {}
        for gateway, own in outgoing.items():
            if not await self._send(gateway, [*own, covered] if covered is not None else own) and own:
                untold[gateway] = _merged(own)
        return untold

    async def _concerned(self, note: HeadsNote, among: Sequence[str] | None) -> dict[str, dict[str, int]]:
        """Which heads of the note go to which gateway."""
        peers = [peer for peer in self._peers() if among is None or peer in among]
        if not peers:
            return {}
        concerned: dict[str, dict[str, int]] = {}
        wanted = await self._routes.gateways([(note.app, conv) for conv in note.heads], peers)
        for (conv, seq), gateways in zip(note.heads.items(), wanted, strict=True):
            for gateway in _chosen(peers, gateways):
                concerned.setdefault(gateway, {})[conv] = seq
        return concerned

    async def _forward(self, notes: Sequence[Note]) -> None:
        """Each note to the gateways that want it, all notes of one gateway in as few messages as they fit in."""
        peers = self._peers()
        if not peers:
            return
        keys = list(dict.fromkeys(key for note in notes if (key := _log_of(note)) is not None))
        wanted = dict(zip(keys, await self._routes.gateways(keys, peers), strict=True)) if keys else {}
        outgoing: dict[str, list[Note]] = {}
        for note in notes:
            key = _log_of(note)
            for gateway in _chosen(peers, None if key is None else wanted[key]):
                outgoing.setdefault(gateway, []).append(note)
        await asyncio.gather(*(self._send_or_lose(gateway, own) for gateway, own in outgoing.items()))

    async def _send_or_lose(self, gateway: str, notes: Sequence[Note]) -> None:
        if not await self._send(gateway, notes):
            self.lost += len(notes)

    async def _send(self, gateway: str, notes: Sequence[Note]) -> bool:
        """False when the bus does not take it, or nobody listens there."""
        for message in _messages(notes):
            try:
                if not await self._bus.publish(gateway, encode_notes(message)):
                    return False
            except BusUnavailable:
                return False
            self.published += 1
        return True


def _chosen(peers: Sequence[str], gateways: frozenset[str] | None) -> Sequence[str]:
    """In the order of `peers`, so that the same state always sends in the same order."""
    return peers if gateways is None else [peer for peer in peers if peer in gateways]


def _log_of(note: Note) -> LogKey | None:
    """The log that a note belongs to; None for what every gateway must hear."""
    if isinstance(note, EntryNote | CursorsNote | OpenedNote):
        return note.app, note.conv
    return None


def _merged(notes: Sequence[HeadsNote]) -> Heads:
    merged: Heads = {}
    for note in notes:
        merged.setdefault(note.app, {}).update(note.heads)
    return merged


def _heads_notes(app: str, heads: dict[str, int]) -> Iterator[HeadsNote]:
    convs = list(heads)
    for start in range(0, len(convs), HEADS_MAX):
        yield HeadsNote(app, {conv: heads[conv] for conv in convs[start : start + HEADS_MAX]})


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
    if isinstance(note, EventsNote):
        return NOTE_BYTES_MAX + sum(map(len, note.events))
    return NOTE_BYTES_MAX + (len(note.frame) if isinstance(note, CursorsNote) else 0)
