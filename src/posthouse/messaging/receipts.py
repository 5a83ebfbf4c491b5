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
from posthouse.storage.base import CursorUpdate, Log, Refused, StorageError

SHOWN_MEMBERS_MAX = 100
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
        self.written = 0

    def submit(self, app: str, user: str, cursors: Sequence[Cursor], answer: Answer) -> None:
        """Take new positions of a user; `answer(None)` is called once they are durable, else with a refusal."""
        if len(self._pending) + len(cursors) > self._pending_max:
            answer(Refused(Code.BUSY, "too many cursors wait on this node"))
            return
        for cursor in cursors:
            key = (app, cursor.conv, user)
            known = self._pending.get(key)
            self._pending[key] = merge(known, cursor) if known is not None else merge(cursor, cursor)
        self._answers.append(answer)

    async def run(self) -> None:
        """Write what has gathered, once each interval."""
        while True:
            await self._clock.sleep(self._flush_interval_s)
            await self.flush()

    async def flush(self) -> None:
        """Write, answer, show. What could not be written is refused: the client says it again."""
        pending, self._pending = self._pending, {}
        answers, self._answers = self._answers, []
        refusal: Refused | None = None
        if pending:
            try:
                await self._log.advance(
                    [CursorUpdate(app, user, at) for (app, _, user), at in pending.items()]
                )
                self.written += len(pending)
            except StorageError as error:
                refusal = Refused(getattr(error, "code", Code.UNAVAILABLE), str(error))
        for answer in answers:
            answer(refusal)
        if pending and refusal is None:
            await self._show(pending)

    async def _show(self, pending: dict[tuple[str, str, str], Cursor]) -> None:
        by_conv: dict[ConvKey, list[MemberCursor]] = {}
        for (app, conv, user), cursor in pending.items():
            moved = MemberCursor(user, cursor.read, cursor.delivered)
            by_conv.setdefault((app, conv), []).append(moved)
        notes = [
            CursorsNote(app, conv, encode(CursorsPush(conv=conv, of=tuple(moved))))
            for (app, conv), moved in by_conv.items()
            if await self._member_count((app, conv)) <= SHOWN_MEMBERS_MAX
        ]
        if notes:
            await self._publisher.entries(notes)

    async def _member_count(self, key: ConvKey) -> int:
        """How many members, as first seen: the limit guards against floods and need not be exact."""
        count = self._members.get(key)
        if count is None:
            if len(self._members) >= self._known_max:
                self._members.clear()
            try:
                found = await self._log.conversation(*key)
            except StorageError:
                return SHOWN_MEMBERS_MAX + 1
            count = self._members[key] = found.members if found is not None else 0
        return count
