"""A gateway notices that it was not told of something, though the bus took it and said nothing."""

from collections.abc import AsyncIterator

import pytest

from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.messaging.coverage import Coverage
from posthouse.messaging.hearing import SETTLE_S, Hearing
from posthouse.messaging.notes import CoveredNote
from posthouse.storage.base import FeedPosition


class Bench:
    """A gateway that has trusted its hints for long."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hearing = Hearing((), self.clock.monotonic)
        self.coverage = Coverage("a", self.hearing, self.clock)
        self.tasks = Tasks(self.clock)
        self.tasks.supervise("coverage", self.coverage.run)

    def tell(self, after: int, until: int) -> None:
        self.coverage.hear(CoveredNote("a", FeedPosition(after, 0), FeedPosition(until, 0)))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.clock.advance(SETTLE_S)
    bench.tell(5, 5)
    await bench.clock.advance(SETTLE_S)
    yield bench
    await bench.tasks.close()


async def test_rounds_that_follow_each_other_leave_no_doubt(bench: Bench) -> None:
    for after, until in ((5, 9), (9, 9), (9, 12), (9, 14), (12, 14)):  # also of two nodes that repair at once
        bench.tell(after, until)
        await bench.clock.advance(1.0)
        assert bench.hearing.trusted
    assert bench.coverage.gaps == 0


async def test_a_round_that_is_missing_is_noticed(bench: Bench) -> None:
    bench.tell(5, 9)
    bench.tell(10, 12)
    assert not bench.hearing.trusted
    assert bench.coverage.gaps == 1
    bench.tell(12, 13)
    await bench.clock.advance(SETTLE_S)
    assert bench.hearing.trusted


async def test_silence_is_a_doubt_until_something_is_heard(bench: Bench) -> None:
    bench.tell(5, 9)
    await bench.clock.advance(Coverage.SILENT_S + Coverage.LOOK_S)
    assert "not heard" in bench.hearing.why
    await bench.clock.advance(60.0)
    assert not bench.hearing.trusted
    bench.tell(9, 11)
    await bench.clock.advance(SETTLE_S)
    assert bench.hearing.trusted


async def test_until_it_is_heard_for_the_first_time_nothing_is_trusted() -> None:
    """The very first round may be the one that is lost."""
    bench = Bench()
    trusted = []
    await bench.clock.advance(60.0)
    trusted.append(bench.hearing.trusted)
    bench.tell(5, 9)
    await bench.clock.advance(SETTLE_S)
    trusted.append(bench.hearing.trusted)
    assert trusted == [False, True]
    await bench.tasks.close()
