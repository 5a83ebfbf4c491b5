"""Group commit: what waits goes out together, in order, and fan-out follows the ack."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.messaging.commit import CommitLimits, GroupCommit
from posthouse.messaging.lane import Lane
from posthouse.messaging.notes import EntryNote, Note
from posthouse.messaging.publish import Publisher
from posthouse.messaging.vigil import DOUBT_S, LOOK_INTERVAL_S, STALL_S, Vigil
from posthouse.protocol.codes import Code
from posthouse.storage.base import (
    Append,
    Appended,
    Log,
    Outcome,
    Refused,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from tests.messaging.fake_log import FakeLog

STALLED_S = LOOK_INTERVAL_S + STALL_S + 0.01
"""So long nobody looks."""


def send(client_id: str, conv: str = "c") -> Append:
    return Append(
        app="app",
        conv=conv,
        kind="message",
        client_id=client_id,
        made_at_ms=1,
        body=b'{"text":"x"}',
        sender="ann",
    )


class Bench:
    """A group commit on a fake log, with everything that was answered and published, in order."""

    def __init__(self, limits: CommitLimits | None = None, clock: ManualClock | None = None) -> None:
        self.log = FakeLog()
        self.happened: list[str] = []
        self.outcomes: dict[str, Outcome] = {}
        self.publisher = Publisher(MemoryBus(), MemoryRoutes())
        self.publisher.local = self.delivered
        self.vigil = Vigil(clock or ManualClock())
        self.commit = GroupCommit(cast("Log", self.log), self.publisher, limits or CommitLimits(), self.vigil)

    def settle(self, append: Append, outcome: Outcome) -> None:
        assert append.client_id not in self.outcomes, "settled twice"
        self.outcomes[append.client_id] = outcome
        self.happened.append(f"answer {append.client_id}")

    def delivered(self, notes: Sequence[Note]) -> None:
        self.happened.extend(f"deliver {note.seq}" for note in notes if isinstance(note, EntryNote))

    def submit(self, client_id: str, lane: Lane | None = None, conv: str = "c") -> None:
        number = lane.enter(conv, client_id) if lane is not None else 0
        if lane is not None and not number:
            self.settle(send(client_id), Refused(Code.HELD_BACK, "at the door"))
            return
        self.commit.submit(send(client_id, conv), self.settle, lane, number)

    def codes(self, *client_ids: str) -> list[Code]:
        return [cast("Refused", self.outcomes[client_id]).code for client_id in client_ids]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tasks(clock: ManualClock) -> AsyncIterator[Tasks]:
    tasks = Tasks(clock)
    yield tasks
    await tasks.close()


async def started(
    tasks: Tasks, limits: CommitLimits | None = None, clock: ManualClock | None = None
) -> Bench:
    bench = Bench(limits, clock)
    bench.vigil.look()
    tasks.supervise("commit", bench.commit.run)
    return bench


async def restarted(clock: ManualClock) -> None:
    """Let what was begun crash, and its supervisor start it again."""
    await asyncio.sleep(0.01)
    await clock.advance(1)


async def test_what_arrives_during_a_commit_goes_out_in_the_next_one_together(tasks: Tasks) -> None:
    bench = await started(tasks)
    bench.log.gate.clear()
    bench.submit("1")
    await asyncio.sleep(0.01)
    for client_id in "234":
        bench.submit(client_id)
    bench.log.gate.set()
    await bench.commit.drained()
    assert bench.log.batches == [["1"], ["2", "3", "4"]]


async def test_an_entry_is_answered_before_it_is_fanned_out_and_both_in_order(tasks: Tasks) -> None:
    bench = await started(tasks)
    for client_id in "12":
        bench.submit(client_id)
    await bench.commit.drained()
    assert bench.happened == ["answer 1", "answer 2", "deliver 1", "deliver 2"]


async def test_nothing_is_answered_while_the_commit_is_in_flight(tasks: Tasks) -> None:
    """G1: an answer before the database's is the one thing that must never be."""
    bench = await started(tasks)
    bench.log.gate.clear()
    bench.submit("1")
    await asyncio.sleep(0.02)
    assert bench.log.batches == [["1"]]
    assert bench.happened == []


async def test_a_successor_that_waited_behind_a_refused_send_is_held_back(tasks: Tasks) -> None:
    bench = await started(tasks, CommitLimits(batch_sends_max=1))
    bench.log.refusals.append(Refused(Code.UNAVAILABLE, "no"))
    lane = Lane()
    bench.submit("1", lane)
    bench.submit("2", lane)
    bench.submit("other", lane, conv="d")
    await bench.commit.drained()
    assert [cast("Refused", bench.outcomes[name]).code for name in "12"] == [Code.UNAVAILABLE, Code.HELD_BACK]
    assert isinstance(bench.outcomes["other"], Appended)
    bench.outcomes.clear()
    bench.submit("1", lane)
    bench.submit("2", lane)
    await bench.commit.drained()
    assert [cast("Appended", bench.outcomes[name]).seq for name in "12"] == [1, 2]


async def test_a_full_queue_refuses_and_keeps_what_it_has(tasks: Tasks) -> None:
    bench = await started(tasks, CommitLimits(queue_sends_max=2))
    bench.log.gate.clear()
    bench.submit("1")
    await asyncio.sleep(0.01)
    for client_id in "234":
        bench.submit(client_id)
    assert bench.outcomes == {"4": Refused(Code.BUSY, "too many sends wait on this node")}
    bench.log.gate.set()
    await bench.commit.drained()
    assert all(isinstance(bench.outcomes[name], Appended) for name in "123")


async def test_a_send_refused_as_busy_holds_back_its_successors(tasks: Tasks) -> None:
    bench = await started(tasks, CommitLimits(queue_sends_max=1))
    bench.log.gate.clear()
    lane = Lane()
    bench.submit("1", lane)
    await asyncio.sleep(0.01)
    bench.submit("2", lane)
    bench.submit("3", lane)
    bench.log.gate.set()
    await bench.commit.drained()
    bench.submit("4", lane)
    await bench.commit.drained()
    assert cast("Refused", bench.outcomes["3"]).code is Code.BUSY
    assert cast("Refused", bench.outcomes["4"]).code is Code.HELD_BACK


async def test_a_duplicate_is_answered_but_not_fanned_out_again(tasks: Tasks) -> None:
    bench = await started(tasks)

    async def duplicate(batch: object, is_wanted: object) -> list[Outcome]:
        return [Appended(7, 1, 7, duplicate=True)]

    bench.log.append = duplicate  # type: ignore[assignment,method-assign]
    bench.submit("1")
    await bench.commit.drained()
    assert bench.happened == ["answer 1"]


async def test_a_fault_while_committing_answers_everybody_and_the_loop_goes_on(
    tasks: Tasks, clock: ManualClock
) -> None:
    """Whether the sends are in the log is not known, so they are to be repeated; nobody waits for ever."""
    bench = await started(tasks)
    bench.log.faults.append(RuntimeError("a fault of ours"))
    lane = Lane()
    bench.submit("1", lane)
    bench.submit("2")
    await restarted(clock)
    bench.submit("3", lane)
    await bench.commit.drained()
    assert bench.codes("1", "2", "3") == [Code.UNAVAILABLE, Code.UNAVAILABLE, Code.HELD_BACK]
    bench.submit("4")
    await bench.commit.drained()
    assert isinstance(bench.outcomes["4"], Appended)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (StorageFull("full"), Code.STORAGE_FULL),
        (StorageUnavailable("away"), Code.UNAVAILABLE),
        (StorageCorrupt("damaged"), Code.UNAVAILABLE),
    ],
)
async def test_what_the_database_cannot_do_leaves_every_send_unsettled(
    tasks: Tasks, fault: StorageError, code: Code
) -> None:
    bench = await started(tasks)
    bench.log.faults.append(fault)
    bench.submit("1")
    await bench.commit.drained()
    assert bench.codes("1") == [code]
    assert tasks.crashes == 0


async def test_a_fan_out_that_fails_while_the_next_batch_commits_loses_no_answer(
    tasks: Tasks, clock: ManualClock
) -> None:
    bench = await started(tasks, CommitLimits(batch_sends_max=1))

    def fail(notes: Sequence[Note]) -> None:
        bench.log.gate.clear()
        raise RuntimeError("a fault of ours")

    bench.publisher.local = fail
    for client_id in "123":
        bench.submit(client_id)
    await asyncio.sleep(0.01)
    assert tasks.crashes == 1
    bench.log.gate.set()
    bench.publisher.local = bench.delivered
    await restarted(clock)
    await bench.commit.drained()
    assert [cast("Appended", bench.outcomes[name]).seq for name in "123"] == [1, 2, 3]


async def test_a_sender_whose_answer_fails_harms_only_itself(tasks: Tasks, clock: ManualClock) -> None:
    bench = await started(tasks)

    def fail(append: Append, outcome: Outcome) -> None:
        raise RuntimeError("a fault of ours")

    bench.submit("1")
    bench.commit.submit(send("bad"), fail)
    bench.submit("2")
    await restarted(clock)
    await bench.commit.drained()
    assert [cast("Appended", bench.outcomes[name]).seq for name in "12"] == [1, 3]


async def test_a_loop_that_is_stopped_answers_nothing_and_one_that_is_started_again_answers_once(
    clock: ManualClock,
) -> None:
    """G1: what stops in mid-commit has not been acknowledged."""
    first, second = Tasks(clock), Tasks(clock)
    bench = await started(first)
    bench.log.gate.clear()
    bench.submit("1")
    await asyncio.sleep(0.01)
    await first.close()
    bench.log.gate.set()
    await asyncio.sleep(0.01)
    assert bench.outcomes == {}
    second.supervise("commit", bench.commit.run)
    await bench.commit.drained()
    await second.close()
    assert [each for each in bench.happened if each.startswith("answer")] == ["answer 1"]


async def test_the_queue_is_bounded_in_bytes_too(tasks: Tasks) -> None:
    bench = await started(tasks, CommitLimits(queue_bytes_max=2 * len(send("1").body)))
    bench.log.gate.clear()
    bench.submit("1")
    await asyncio.sleep(0.01)
    for client_id in "234":
        bench.submit(client_id)
    assert bench.codes("4") == [Code.BUSY]
    bench.log.gate.set()
    await bench.commit.drained()
    bench.submit("5")
    await bench.commit.drained()
    assert isinstance(bench.outcomes["5"], Appended), "what went out leaves room"


async def test_what_a_session_sent_around_a_stall_is_refused_for_now_and_what_follows_is_held_back(
    tasks: Tasks, clock: ManualClock
) -> None:
    """Its client may have repeated it elsewhere, been refused, and said more. Who is no session waits for an answer."""
    bench = Bench(clock=clock)
    bench.vigil.look()
    lane = Lane()
    bench.submit("waits", lane)
    bench.submit("server's own")
    await clock.advance(STALLED_S)
    tasks.supervise("commit", bench.commit.run)
    await bench.commit.drained()
    bench.submit("comes", other := Lane())
    await bench.commit.drained()
    assert bench.codes("waits", "comes") == [Code.BUSY, Code.BUSY]
    bench.submit("after it", lane)
    await bench.commit.drained()
    assert bench.codes("after it") == [Code.HELD_BACK]
    await clock.advance(DOUBT_S)
    bench.vigil.look()
    for client_id, its in (("waits", lane), ("after it", lane), ("comes", other)):
        del bench.outcomes[client_id]
        bench.submit(client_id, its)
    await bench.commit.drained()
    assert bench.log.batches == [["server's own"], ["waits", "after it", "comes"]]


async def test_what_waits_behind_a_commit_that_a_stall_has_met_is_refused_for_now_however_late_its_turn_comes(
    tasks: Tasks, clock: ManualClock
) -> None:
    bench = await started(tasks, clock=clock)
    bench.log.gate.clear()
    bench.submit("in flight")
    await asyncio.sleep(0.01)
    bench.submit("waits", Lane())
    await clock.advance(STALLED_S)
    bench.vigil.look()
    await clock.advance(DOUBT_S)
    bench.vigil.look()
    bench.log.gate.set()
    await bench.commit.drained()
    assert bench.codes("waits") == [Code.BUSY]


async def test_a_stall_while_the_database_works_is_told_to_it_before_it_commits(
    tasks: Tasks, clock: ManualClock
) -> None:
    """But not when it was begun around a stall: then nothing of a session is in it, and nobody repeats it elsewhere."""
    bench = await started(tasks, clock=clock)
    bench.submit("calm", Lane())
    await bench.commit.drained()
    assert bench.log.is_wanted()
    await clock.advance(STALLED_S)
    assert not bench.log.is_wanted()
    bench.submit("server's own")
    await bench.commit.drained()
    await clock.advance(STALLED_S)
    assert bench.log.is_wanted()
