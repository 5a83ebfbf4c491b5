"""The user's own cursors on their way to the server: merged, one frame a second at most, until durable. Pure."""

from math import inf

from posthouse.model.cursor import Cursor, merge
from posthouse.protocol.frames import CURSORS_MAX

INTERVAL_S = 1.0
PENDING_MAX = 10_000
"""Conversations with unsaid cursors. Overflow: what was delivered is left out; what was read is always taken."""


class Cursors:
    """What has been read and received but not yet said. Cursors only move forward."""

    __slots__ = ("_flying", "_open", "_pending", "_received", "_said", "due")

    def __init__(self) -> None:
        self._received: dict[str, int] = {}
        self._pending: dict[str, Cursor] = {}
        self._flying: dict[str, Cursor] = {}
        self._said: dict[str, Cursor] = {}
        self._open = False
        self.due = inf

    def read(self, conv: str, seq: int, now: float) -> None:
        """The user has read up to `seq`."""
        self._move(Cursor(conv, read=seq, delivered=seq))
        self.schedule(now)

    def deliver(self, conv: str, seq: int) -> bool:
        """This device has received up to `seq`, which never falls. True: `schedule` must be called.

        Asked for nearly every entry, so it only takes the number down.
        """
        if conv in self._received or len(self._received) < PENDING_MAX:
            self._received[conv] = seq
        return self.due == inf and self._open and not self._flying

    def schedule(self, now: float) -> None:
        """Wait from the first unsaid cursor on, so that a lone one is late by a second at most."""
        if self._open and self.due == inf and not self._flying and (self._pending or self._received):
            self.due = now + INTERVAL_S

    def open(self, now: float) -> None:
        """A session stands."""
        self._open = True
        self.schedule(now)

    def lose_connection(self) -> None:
        """What was on its way is said again."""
        self._open = False
        self._return_flying()

    def forget(self, conv: str) -> None:
        """The user has left the conversation."""
        for cursors in (self._pending, self._flying, self._said):
            cursors.pop(conv, None)
        self._received.pop(conv, None)

    def take(self, now: float, *, all_due: bool = False) -> tuple[Cursor, ...]:
        """The cursors to say now, if any. The caller answers with `settle`. `all_due`: do not wait for the second."""
        if not self._open or self._flying or (now < self.due and not all_due):
            return ()
        self._gather()
        convs = list(self._pending)[:CURSORS_MAX]
        self._flying = {conv: self._pending.pop(conv) for conv in convs}
        self.due = inf
        return tuple(self._flying.values())

    def settle(self, saved: bool, now: float) -> None:
        """What was taken last is durable (`saved`), or was refused and is dropped."""
        if saved:
            self._said |= self._flying
        self._flying.clear()
        self.schedule(now)

    def _gather(self) -> None:
        """Put what was received and what was read together."""
        for conv, seq in self._received.items():
            self._move(Cursor(conv, delivered=seq))
        self._received.clear()

    def _move(self, cursor: Cursor) -> None:
        conv = cursor.conv
        said = self._said.get(conv)
        if said is not None and cursor.read <= said.read and cursor.delivered <= said.delivered:
            return
        old = self._pending.get(conv)
        self._pending[conv] = merge(old, cursor) if old is not None else cursor

    def _return_flying(self) -> None:
        for conv, cursor in self._flying.items():
            later = self._pending.get(conv)
            self._pending[conv] = merge(cursor, later) if later is not None else cursor
        self._flying.clear()
        self.due = inf
