"""Cursors, coalesced: gathered for a moment, written in one transaction, then answered and shown to others.

Members of conversations up to `SHOWN_MEMBERS_MAX` see each other's cursors live; in larger ones they are counted
on demand. Bounded: beyond `pending_cursors_max` an update is refused as `busy` (policy: reject).
"""

from collections.abc import Callable, Sequence

from posthouse.kit.clock import Clock
from posthouse.messaging.notes import CursorsNote
from posthouse.messaging.publish import Publisher
from posthouse.model.cursor import Cursor, merge
from posthouse.protocol.codec import encode
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import CursorsPush, MemberCursor
from posthouse.storage.base import Append, CursorUpdate, Log, Refused, StorageError

SHOWN_MEMBERS_MAX = 100
COUNT_TTL_S = 10.0
"""How long a conversation is taken to have as many members as when it was last looked at."""
Answer = Callable[[Refused | None], None]
ConvKey = tuple[str, str]


class Receipts:
    """Write-behind for cursors of one database. `run` is the loop."""

    def __init__(
        self,
        log: Log,
        publisher: Publisher,
        clock: Clock,
        *,
        flush_interval_s: float = 0.5,
        pending_cursors_max: int = 100_000,
        known_conversations_max: int = 50_000,
    ) -> None:
        self._log = log
        self._publisher = publisher
        self._clock = clock
        self._flush_interval_s = flush_interval_s
        self._pending_max = pending_cursors_max
        self._known_max = known_conversations_max
        self._pending: dict[tuple[str, str, str], Cursor] = {}
        self._answers: list[Answer] = []
        self._members: dict[ConvKey, int] = {}
        self._recount_at = 0.0
        self.written = 0

    def submit(self, app: str, user: str, cursors: Sequence[Cursor], answer: Answer) -> None:
        """Take new positions of a user; `answer(None)` is called once they are durable, else with a refusal."""
        if len(self._pending) + len(cursors) > self._pending_max:
            answer(Refused(Code.BUSY, "too many cursors wait on this node"))
            return
        for cursor in cursors:
            self._move(app, user, cursor)
        self._answers.append(answer)

    def sent(self, append: Append, seq: int) -> None:
        """Whoever writes a message has read up to it. A hint: dropped when too much waits."""
        if append.sender and not append.trusted and len(self._pending) < self._pending_max:
            self._move(append.app, append.sender, Cursor(append.conv, seq, seq))

    async def run(self) -> None:
        """Write what has gathered, once each interval."""
        while True:
            await self._clock.sleep(self._flush_interval_s)
            await self.flush()

    def _move(self, app: str, user: str, cursor: Cursor) -> None:
        key = (app, cursor.conv, user)
        self._pending[key] = merge(self._pending.get(key, cursor), cursor)

    async def flush(self) -> None:
        """Write, answer, show. What could not be written is refused: the client says it again."""
        pending, self._pending = self._pending, {}
        answers, self._answers = self._answers, []
        updates = [CursorUpdate(app, user, cursor) for (app, _, user), cursor in pending.items()]
        try:
            stored = await self._log.advance(updates) if updates else []
        except StorageError as error:
            _answer(answers, Refused(error.code, str(error)))
            return
        except Exception:
            _answer(answers, Refused(Code.UNAVAILABLE, "the node met a fault while writing cursors"))
            raise
        self.written += len(stored)
        _answer(answers, None)
        if stored:
            await self._show(stored)

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


def _answer(answers: Sequence[Answer], refusal: Refused | None) -> None:
    for answer in answers:
        answer(refusal)
