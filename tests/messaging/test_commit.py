"""Group commit: what waits goes out together, in order, and fan-out follows the ack."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.messaging.commit import CommitLimits, GroupCommit
from posthouse.messaging.lane import Lane
from posthouse.messaging.notes import EntryNote, decode_notes
from posthouse.messaging.publish import Publisher
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, Log, Outcome, Refused
from tests.messaging.fake_log import FakeLog


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

    def __init__(self, limits: CommitLimits | None = None) -> None:
        self.log = FakeLog()
        self.bus = MemoryBus()
        self.routes = MemoryRoutes()
        self.happened: list[str] = []
        self.outcomes: dict[str, Outcome] = {}
        self.commit = GroupCommit(
            cast("Log", self.log), Publisher(self.bus, self.routes, ["node"]), limits or CommitLimits()
        )

    def settle(self, append: Append, outcome: Outcome) -> None:
        assert append.client_id not in self.outcomes, "settled twice"
        self.outcomes[append.client_id] = outcome
        self.happened.append(f"answer {append.client_id}")

    def delivered(self, message: bytes) -> None:
        self.happened.extend(
            f"deliver {note.seq}" for note in decode_notes(message) if isinstance(note, EntryNote)
        )

    def submit(self, client_id: str, lane: Lane | None = None, conv: str = "c") -> None:
        number = lane.enter(conv, client_id) if lane is not None else 0
        if lane is not None and not number:
            self.settle(send(client_id), Refused(Code.HELD_BACK, "at the door"))
            return
        self.commit.submit(send(client_id, conv), self.settle, lane, number)


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks(ManualClock())
    yield tasks
    await tasks.close()


async def started(tasks: Tasks, limits: CommitLimits | None = None) -> Bench:
    bench = Bench(limits)
    await bench.bus.subscribe("node", bench.delivered)
    await bench.routes.register("node", [("app", "c")])
    tasks.supervise("commit", bench.commit.run)
    return bench


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

    async def duplicate(batch: object) -> list[Outcome]:
        return [Appended(7, 1, 7, duplicate=True)]

    bench.log.append = duplicate  # type: ignore[method-assign]
    bench.submit("1")
    await bench.commit.drained()
    assert bench.happened == ["answer 1"]
