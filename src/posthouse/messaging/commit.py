"""Group commit: while one transaction is in flight the following sends gather, and go out together. No timers.

One loop per database. Acks are written as soon as the database has answered; fan-out of a batch runs while the
next batch is being committed. The queue is bounded: beyond it sends are refused as `busy` (policy: reject). Each send
is answered once, also when the loop crashes: what is under way is kept where the next run of the loop finds it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from posthouse.kit.tasks import start
from posthouse.messaging.bodies import users_of
from posthouse.messaging.lane import Lane
from posthouse.messaging.notes import EntryNote
from posthouse.messaging.publish import Publisher
from posthouse.messaging.vigil import Vigil
from posthouse.model.entry import COUNTING_KINDS, MEMBER_LEFT, Entry
from posthouse.protocol.codec import encode
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Push
from posthouse.storage.base import (
    Append,
    Appended,
    Create,
    IsWanted,
    Join,
    Leave,
    Log,
    Outcome,
    Refused,
    StorageError,
    always,
    as_refusal,
)

MEMBERSHIPS = (Create, Join, Leave)
Settle = Callable[[Append, Outcome], None]


@dataclass(frozen=True, slots=True)
class CommitLimits:
    """How much may wait and how much one transaction takes."""

    queue_sends_max: int = 20_000
    queue_bytes_max: int = 64 << 20
    batch_sends_max: int = 2_000
    batch_bytes_max: int = 4 << 20


class Pending(NamedTuple):
    """A send on its way: who hears of it, in which lane, which session's it is, and in which watch it came."""

    append: Append
    settle: Settle
    lane: Lane | None
    number: int
    origin: str
    watch: int


Settled = tuple[Pending, Outcome]


class GroupCommit:
    """The way into one database. `submit` never awaits; `run` is the loop."""

    def __init__(
        self,
        log: Log,
        publisher: Publisher,
        limits: CommitLimits = CommitLimits(),
        vigil: Vigil | None = None,
    ) -> None:
        self._log = log
        self._publisher = publisher
        self._limits = limits
        self._vigil = vigil
        self._queue: deque[Pending] = deque()
        self._queue_bytes = 0
        self._flying: tuple[list[Pending], asyncio.Task[list[Outcome]]] | None = None
        self._landed: deque[Settled] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.on_membership: Callable[[], None] = lambda: None
        self.on_message: Callable[[Append, int], None] = lambda append, seq: None
        self.batches = 0
        self.committed = 0
        self.refused_busy = 0

    @property
    def waiting(self) -> int:
        """Sends in the queue."""
        return len(self._queue)

    def submit(
        self, append: Append, settle: Settle, lane: Lane | None = None, number: int = 0, origin: str = ""
    ) -> None:
        """Queue one send, which entered its lane as `number`; `settle` is called once with its outcome, in the loop."""
        pending = Pending(append, settle, lane, number, origin, self._vigil.watch if self._vigil else 0)
        limits = self._limits
        if len(self._queue) >= limits.queue_sends_max or self._queue_bytes >= limits.queue_bytes_max:
            self.refused_busy += 1
            busy = Refused(Code.BUSY, "too many sends wait on this node")
            _note_lane(pending, busy)
            settle(append, busy)
            return
        self._queue.append(pending)
        self._queue_bytes += len(append.body)
        self._idle.clear()
        self._wake.set()

    async def append(self, append: Append) -> Outcome:
        """Queue one entry and wait for its outcome. Cancelling the wait does not take the entry back."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(_: Append, outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self.submit(append, settle)
        return await future

    async def drained(self) -> None:
        """Return when nothing waits and nothing is in flight."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit for ever. While a batch commits, the entries of the one before it are fanned out."""
        while True:
            if self._flying is None and not self._queue and not self._landed:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            if self._flying is not None:
                await self._land(*self._flying)
            batch = self._next_batch()
            if batch:
                appends = [pending.append for pending in batch]
                self._flying = (batch, start(self._log.append(appends, self._is_wanted())))
                await asyncio.sleep(0)  # the commit begins before the last one is fanned out
            self._finish()

    async def _land(self, batch: list[Pending], task: asyncio.Task[list[Outcome]]) -> None:
        """Wait for a batch's outcomes. Lanes hear of them at once, so no successor slips past a refused send."""
        try:
            outcomes = await asyncio.shield(task)
        except StorageError as error:
            outcomes = [as_refusal(error)] * len(batch)
        except Exception:
            self._note(
                batch, [Refused(Code.UNAVAILABLE, "the node met a fault while committing")] * len(batch)
            )
            raise
        self._note(batch, outcomes)

    def _note(self, batch: list[Pending], outcomes: list[Outcome]) -> None:
        self._flying = None
        self.batches += 1
        for pending, outcome in zip(batch, outcomes, strict=True):
            _note_lane(pending, outcome)
            self._landed.append((pending, outcome))

    def _next_batch(self) -> list[Pending]:
        """The next sends in order, without those whose lane holds them back."""
        batch: list[Pending] = []
        size = 0
        if self._vigil is not None and self._queue:
            self._vigil.look()
        while (
            self._queue and len(batch) < self._limits.batch_sends_max and size < self._limits.batch_bytes_max
        ):
            pending = self._queue.popleft()
            append = pending.append
            self._queue_bytes -= len(append.body)
            if pending.lane is not None and not pending.lane.admits(append.conv, pending.number):
                self._landed.append(
                    (pending, Refused(Code.HELD_BACK, "an earlier send must be settled first"))
                )
                continue
            if self._is_doubtful(pending):
                refused = Refused(
                    Code.BUSY, "the node did not run for a while, and knows not who is still there"
                )
                _note_lane(pending, refused)
                self._landed.append((pending, refused))
                continue
            batch.append(pending)
            size += len(append.body)
        return batch

    def _is_wanted(self) -> IsWanted:
        """What the database asks before it commits what is begun now: nothing of sessions, when there was a stall."""
        vigil = self._vigil
        if vigil is None or not vigil.trusts(watch := vigil.watch):
            return always

        def is_wanted() -> bool:
            vigil.look()
            return vigil.trusts(watch)

        return is_wanted

    def _is_doubtful(self, pending: Pending) -> bool:
        """True for what a session sent around a stall. It may have left, been refused this elsewhere, and said more
        since: it would find in the log, out of order, what it was told is not there. Who is still there repeats it."""
        return pending.lane is not None and self._vigil is not None and not self._vigil.trusts(pending.watch)

    def _finish(self) -> None:
        """Answer what has landed, each send once, then fan it out."""
        notes: list[EntryNote] = []
        membership = False
        while self._landed:
            pending, outcome = self._landed.popleft()
            pending.settle(pending.append, outcome)
            if isinstance(outcome, Appended):
                self.committed += 1
                if not outcome.duplicate:
                    notes.append(_entry_note(pending, outcome))
                    membership = membership or isinstance(pending.append.change, MEMBERSHIPS)
                    if pending.append.kind in COUNTING_KINDS:
                        self.on_message(pending.append, outcome.seq)
        if membership:
            self.on_membership()
        if notes:
            self._publisher.post(notes)


def _note_lane(pending: Pending, outcome: Outcome) -> None:
    if pending.lane is None:
        return
    append = pending.append
    if isinstance(outcome, Refused):
        pending.lane.refused(append.conv, append.client_id, pending.number, outcome.code)
    else:
        pending.lane.settled(append.conv, pending.number)


def _entry_note(pending: Pending, outcome: Appended) -> EntryNote:
    append = pending.append
    entry = entry_of(append, outcome)
    left = users_of(entry) if entry.kind == MEMBER_LEFT else ()
    return EntryNote(append.app, append.conv, outcome.seq, encode(Push(entry=entry)), pending.origin, left)


def entry_of(append: Append, outcome: Appended) -> Entry:
    """The entry that a committed Append has become."""
    return Entry(
        conv=append.conv,
        seq=outcome.seq,
        kind=append.kind,
        at_ms=outcome.at_ms,
        ordinal=outcome.ordinal,
        body=msgspec.Raw(append.body if outcome.body is None else outcome.body),
        sender=append.sender,
        device=append.device,
        client_id=append.client_id,
        reply_to=append.reply_to,
        mentions=append.mentions,
    )
