"""Cursors: gathered, durable before they are answered, and shown as they were stored to those who may see them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks, start
from posthouse.messaging.notes import CursorsNote, Note
from posthouse.messaging.publish import Publisher
from posthouse.messaging.receipts import COUNT_TTL_S, SHOWN_MEMBERS_MAX, Receipts
from posthouse.model.conversation import Conversation, Kind
from posthouse.model.cursor import Cursor
from posthouse.protocol.codes import Code
from posthouse.storage.base import (
    CursorUpdate,
    Log,
    PartlyUnavailable,
    Refused,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageUnavailable,
)

HEAD = 10


class Cursors:
    """Cursors as a database keeps them: of members only, never past the head."""

    def __init__(self) -> None:
        self.members = {"ann", "ben"}
        self.size = 2
        self.batches: list[list[CursorUpdate]] = []
        self.faults: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        self.batches.append(list(updates))
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        return [
            CursorUpdate(app, user, Cursor(at.conv, min(at.read, HEAD), min(at.delivered, HEAD)))
            for app, user, at in updates
            if user in self.members
        ]

    async def conversation(self, app: str, conv: str) -> Conversation:
        return Conversation(conv=conv, kind=Kind.GROUP, head=HEAD, members=self.size)


class Bench:
    """Receipts on such a database, what was answered, and what a gateway was shown."""

    def __init__(self, clock: ManualClock, **limits: Any) -> None:
        self.cursors = Cursors()
        publisher = Publisher(MemoryBus(), MemoryRoutes())
        publisher.local = self._hear
        self.receipts = Receipts(cast("Log", self.cursors), publisher, clock, **limits)
        self.answers: list[Refused | None] = []
        self.shown: list[tuple[str, int, int]] = []

    def _hear(self, notes: Sequence[Note]) -> None:
        for note in notes:
            assert isinstance(note, CursorsNote)
            for of in msgspec.json.decode(note.frame)["of"]:
                self.shown.append((of["user"], of["read"], of["delivered"]))

    def say(self, user: str, read: int = 0, delivered: int = 0, conv: str = "c") -> None:
        self.receipts.submit("app", user, [Cursor(conv, read, delivered)], self.answers.append)

    def codes(self) -> list[int]:
        return [0 if answer is None else answer.code for answer in self.answers]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def bench(clock: ManualClock) -> Bench:
    return Bench(clock)


@pytest.fixture
async def tasks(clock: ManualClock) -> AsyncIterator[Tasks]:
    tasks = Tasks(clock)
    yield tasks
    await tasks.close()


async def test_what_gathers_is_written_together_once_each_interval(
    bench: Bench, tasks: Tasks, clock: ManualClock
) -> None:
    tasks.supervise("receipts", bench.receipts.run)
    for read in (3, 5, 4):
        bench.say("ann", read)
    bench.say("ann", delivered=7)
    bench.say("ben", 1)
    await clock.advance(0.9)
    assert (bench.cursors.batches, bench.answers) == ([], [])
    await clock.advance(0.3)
    assert bench.cursors.batches == [
        [CursorUpdate("app", "ann", Cursor("c", 5, 7)), CursorUpdate("app", "ben", Cursor("c", 1, 1))]
    ]
    assert bench.codes() == [0] * 5
    await clock.advance(5)
    assert len(bench.cursors.batches) == 1


async def test_nothing_is_answered_before_it_is_durable(bench: Bench) -> None:
    """P-12.4."""
    bench.cursors.gate.clear()
    bench.say("ann", 3)
    flushing = start(bench.receipts.flush())
    await asyncio.sleep(0.01)
    bench.say("ben", 4)
    assert bench.answers == []
    bench.cursors.gate.set()
    await flushing
    assert bench.codes() == [0], "what came meanwhile goes with the next"
    await bench.receipts.flush()
    assert bench.codes() == [0, 0]


async def test_a_flush_that_is_cancelled_answers_nothing(bench: Bench) -> None:
    bench.cursors.gate.clear()
    bench.say("ann", 3)
    flushing = start(bench.receipts.flush())
    await asyncio.sleep(0.01)
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    assert bench.answers == []


async def test_a_frame_without_cursors_is_answered_too(bench: Bench) -> None:
    bench.receipts.submit("app", "ann", [], bench.answers.append)
    await bench.receipts.flush()
    assert (bench.codes(), bench.cursors.batches) == ([0], [])


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (StorageUnavailable("away"), Code.UNAVAILABLE),
        (StorageFull("full"), Code.STORAGE_FULL),
        (StorageCorrupt("damaged"), Code.CORRUPT),
    ],
)
async def test_what_could_not_be_written_is_refused_and_not_shown(
    bench: Bench, fault: StorageError, code: Code
) -> None:
    bench.cursors.faults.append(fault)
    bench.say("ann", 3)
    await bench.receipts.flush()
    assert (bench.codes(), bench.shown) == ([code], [])
    bench.say("ann", 3)
    await bench.receipts.flush()
    assert (bench.codes(), bench.shown) == ([code, 0], [("ann", 3, 3)])


async def test_a_fault_of_ours_leaves_nobody_without_an_answer(
    bench: Bench, tasks: Tasks, clock: ManualClock
) -> None:
    bench.cursors.faults.append(KeyError("a fault of ours"))
    tasks.supervise("receipts", bench.receipts.run)
    bench.say("ann", 3)
    bench.say("ben", 3)
    await clock.advance(0)
    await clock.advance(1.2)
    assert bench.codes() == [Code.UNAVAILABLE] * 2
    bench.say("ann", 3)
    await clock.advance(5)
    assert bench.codes()[2:] == [0]


async def test_each_cursor_waits_from_its_own_first_move_on(
    bench: Bench, tasks: Tasks, clock: ManualClock
) -> None:
    tasks.supervise("receipts", bench.receipts.run)
    bench.say("ann", 1)
    await clock.advance(0.5)
    bench.say("ann", 2)
    bench.say("ben", 3)
    await clock.advance(0.65)
    assert bench.cursors.batches == [[CursorUpdate("app", "ann", Cursor("c", 2, 2))]]
    assert bench.codes() == [0], "the later frames have waited for half a second"
    await clock.advance(0.5)
    assert bench.cursors.batches[1:] == [[CursorUpdate("app", "ben", Cursor("c", 3, 3))]]
    assert bench.codes() == [0, 0, 0]


async def test_a_failure_refuses_every_frame_whose_position_may_have_been_lost(
    bench: Bench, tasks: Tasks, clock: ManualClock
) -> None:
    """What ann said second was written with what she said first, and so was lost with it."""
    tasks.supervise("receipts", bench.receipts.run)
    bench.cursors.faults.append(StorageUnavailable("away"))
    bench.say("ann", 1)
    await clock.advance(0.5)
    bench.say("ann", 2)
    await clock.advance(2)
    assert bench.codes() == [Code.UNAVAILABLE, Code.UNAVAILABLE]


async def test_one_database_that_is_away_refuses_only_frames_with_what_lies_in_it(bench: Bench) -> None:
    """The others are answered and shown: a frame with cursors of both is repeated whole."""
    stored, failed = (
        CursorUpdate("app", "ann", Cursor("c", 3, 3)),
        CursorUpdate("app", "ben", Cursor("d", 3, 3)),
    )
    bench.cursors.faults = [PartlyUnavailable("one is away", [stored], [failed])]
    answers: dict[str, Refused | None] = {}
    for name, user, cursors in (
        ("here", "ann", [Cursor("c", 3, 3)]),
        ("there", "ben", [Cursor("d", 3, 3)]),
        ("both", "ben", [Cursor("c", 1, 1), Cursor("d", 1, 1)]),
        ("another's", "ann", [Cursor("d", 1, 1)]),
    ):
        bench.receipts.submit("app", user, cursors, partial(answers.__setitem__, name))
    await bench.receipts.flush()
    assert {name: answer and answer.code for name, answer in answers.items()} == {
        "here": None, "there": Code.UNAVAILABLE, "both": Code.UNAVAILABLE, "another's": None,
    }  # fmt: skip
    assert bench.receipts.written == 1


async def test_others_are_shown_what_was_stored_not_what_was_said(bench: Bench) -> None:
    """P-12.3: a stranger's word shows nobody anything, and nobody has read beyond the head."""
    bench.say("ann", 10**15)
    bench.say("eve", 5)
    await bench.receipts.flush()
    assert bench.shown == [("ann", HEAD, HEAD)]
    assert bench.codes() == [0, 0]
    assert bench.receipts.written == 1


@pytest.mark.parametrize(("size", "shown"), [(SHOWN_MEMBERS_MAX, 1), (SHOWN_MEMBERS_MAX + 1, 0)])
async def test_in_large_conversations_nobody_is_shown_anything(bench: Bench, size: int, shown: int) -> None:
    """P-12.7."""
    bench.cursors.size = size
    bench.say("ann", 3)
    await bench.receipts.flush()
    assert len(bench.shown) == shown
    assert bench.codes() == [0]


async def test_a_conversation_that_grows_large_is_noticed_after_a_while(
    bench: Bench, clock: ManualClock
) -> None:
    bench.say("ann", 3)
    await bench.receipts.flush()
    bench.cursors.size = 10_000
    await clock.advance(COUNT_TTL_S)
    bench.say("ann", 4)
    await bench.receipts.flush()
    assert bench.shown == [("ann", 3, 3)]


async def test_beyond_the_limit_cursors_are_refused_and_those_that_wait_are_kept(clock: ManualClock) -> None:
    bench = Bench(clock, pending_cursors_max=2)
    for conv in "cde":
        bench.say("ann", 1, conv=conv)
    assert bench.codes() == [Code.BUSY]
    await bench.receipts.flush()
    assert bench.codes() == [Code.BUSY, 0, 0]
    bench.say("ann", 1, conv="e")
    await bench.receipts.flush()
    assert bench.codes()[3:] == [0]


async def test_what_is_known_of_conversations_is_bounded(clock: ManualClock) -> None:
    bench = Bench(clock, known_conversations_max=3)
    for number in range(20):
        bench.say("ann", 1, conv=f"c{number}")
    await bench.receipts.flush()
    assert len(bench.receipts._members) <= 3
