"""Cursors, coalesced: each waits for a second from its first move on, is written with others, answered and shown.

They become due a few at a time, so that no send waits behind all of a second's cursors, nor a client behind all pushes.
Members of conversations up to `SHOWN_MEMBERS_MAX` see each other's cursors live; in larger ones they are counted
on demand. Bounded: beyond `pending_cursors_max` an update is refused as `busy` (policy: reject).
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

from posthouse.kit.clock import Clock
from posthouse.messaging.notes import CursorsNote
from posthouse.messaging.publish import Publisher
from posthouse.model.cursor import Cursor
from posthouse.protocol.codec import encode
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import CursorsPush, MemberCursor
from posthouse.storage.base import Append, CursorUpdate, Log, PartlyUnavailable, Refused, StorageError

SHOWN_MEMBERS_MAX = 100
COUNT_TTL_S = 10.0
"""How long a conversation is taken to have as many members as when it was last looked at."""
PARTS = 10
"""In so many parts the cursors of one interval are written."""
Answer = Callable[[Refused | None], None]
ConvKey = tuple[str, str]


class _Moved:
    """How far a cursor has moved, unwritten since its first move."""

    __slots__ = ("delivered", "read", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.read = self.delivered = 0


class _Frame(NamedTuple):
    """Positions that a client said, and whom to answer once they are written."""

    since: float
    answer: Answer
    app: str
    user: str
    cursors: Sequence[Cursor]

    def keys(self) -> list[tuple[str, str, str]]:
        return [(self.app, self.user, cursor.conv) for cursor in self.cursors]


class Receipts:
    """Write-behind for cursors. `run` is the loop. One of several databases that is away harms only what lies in it."""

    def __init__(
        self,
        log: Log,
        publisher: Publisher,
        clock: Clock,
        *,
        interval_s: float = 1.0,
        pending_cursors_max: int = 100_000,
        known_conversations_max: int = 50_000,
    ) -> None:
        self._log = log
        self._publisher = publisher
        self._clock = clock
        self._interval_s = interval_s
        self._pending_max = pending_cursors_max
        self._known_max = known_conversations_max
        self._pending: dict[tuple[str, str, str], _Moved] = {}  # those that moved first stand first
        self._answers: deque[_Frame] = deque()
        self._members: dict[ConvKey, int] = {}
        self._recount_at = 0.0
        self.written = 0

    def submit(self, app: str, user: str, cursors: Sequence[Cursor], answer: Answer) -> None:
        """Take new positions of a user; `answer(None)` is called once they are durable, else with a refusal."""
        if len(self._pending) + len(cursors) > self._pending_max:
            answer(Refused(Code.BUSY, "too many cursors wait on this node"))
            return
        for cursor in cursors:
            self._move(app, user, cursor.conv, cursor.read, cursor.delivered)
        self._answers.append(_Frame(self._clock.monotonic(), answer, app, user, cursors))

    def sent(self, append: Append, seq: int) -> None:
        """Whoever writes a message has read up to it. A hint: dropped when too much waits."""
        if append.sender and not append.trusted and len(self._pending) < self._pending_max:
            self._move(append.app, append.sender, append.conv, seq, seq)

    async def run(self) -> None:
        """Write what has waited for an interval."""
        while True:
            await self._clock.sleep(self._interval_s / PARTS)
            await self.flush(self._clock.monotonic() - self._interval_s)

    def _move(self, app: str, user: str, conv: str, read: int, delivered: int) -> None:
        """Take a position. Cursors never go back; what is read has been delivered."""
        key = (app, conv, user)
        moved = self._pending.get(key)
        if moved is None:
            moved = self._pending[key] = _Moved(self._clock.monotonic())
        if read > moved.read:
            moved.read = read
        moved.delivered = max(moved.delivered, delivered, read)

    async def flush(self, since: float = inf) -> None:
        """Write, answer, show what has waited since then. What could not be written is refused: the client repeats it.

        A frame's cursors began to wait with it or before, so all of them are written when it is answered. After a
        failure every waiting frame that it may concern is refused, for what was lost may have been a later one's.
        """
        updates = self._take_updates(since)
        until = len(self._answers)
        try:
            stored: Sequence[CursorUpdate] = await self._log.advance(updates) if updates else []
        except PartlyUnavailable as error:
            stored = error.stored
            until -= self._refuse(until, error)
        except StorageError as error:
            self._answer(until, inf, Refused(error.code, error.told))
            return
        except Exception:
            self._answer(until, inf, Refused(Code.UNAVAILABLE, "the node met a fault while writing cursors"))
            raise
        self.written += len(stored)
        self._answer(until, since, None)
        if stored:
            await self._show(stored)

    def _take_updates(self, since: float) -> list[CursorUpdate]:
        updates: list[CursorUpdate] = []
        for (app, conv, user), moved in self._pending.items():
            if moved.since > since:
                break
            updates.append(CursorUpdate(app, user, Cursor(conv, moved.read, moved.delivered)))
        for update in updates:
            del self._pending[update.app, update.cursor.conv, update.user]
        return updates

    def _answer(self, count: int, since: float, refusal: Refused | None) -> None:
        """Answer of the first `count` frames those that have waited since then."""
        for _ in range(count):
            if self._answers[0].since > since:
                return
            self._answers.popleft().answer(refusal)

    def _refuse(self, count: int, error: PartlyUnavailable) -> int:
        """Refuse of the first `count` frames those that name a cursor which was not stored; how many."""
        lost = {(each.app, each.user, each.cursor.conv) for each in error.failed}
        frames = [self._answers.popleft() for _ in range(count)]
        refused = [each for each in frames if not lost.isdisjoint(each.keys())]
        self._answers.extendleft(reversed([each for each in frames if lost.isdisjoint(each.keys())]))
        for each in refused:
            each.answer(Refused(error.code, error.told))
        return len(refused)

    async def _show(self, stored: Sequence[CursorUpdate]) -> None:
        """Tell of positions as they were stored, which is never what a stranger said, and never beyond the head."""
        by_conv: dict[ConvKey, list[MemberCursor]] = {}
        for app, user, cursor in stored:
            moved = MemberCursor(user, cursor.read, cursor.delivered)
            by_conv.setdefault((app, cursor.conv), []).append(moved)
        notes = [
            CursorsNote(app, conv, encode(CursorsPush(conv=conv, of=tuple(moved))))
            for (app, conv), moved in by_conv.items()
            if await self._member_count((app, conv)) <= SHOWN_MEMBERS_MAX
        ]
        if notes:
            self._publisher.post(notes)

    async def _member_count(self, key: ConvKey) -> int:
        """How many members, as last looked at: the limit guards against floods and need not be exact."""
        if self._clock.monotonic() >= self._recount_at or len(self._members) >= self._known_max:
            self._members.clear()
            self._recount_at = self._clock.monotonic() + COUNT_TTL_S
        count = self._members.get(key)
        if count is None:
            try:
                found = await self._log.conversation(*key)
            except StorageError:
                return SHOWN_MEMBERS_MAX + 1
            count = self._members[key] = found.members if found is not None else 0
        return count
