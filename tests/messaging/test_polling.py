"""The slower path: while hints cannot be trusted, nothing that is committed stays unheard for long."""

from collections.abc import AsyncIterator, Sequence
from typing import cast

import msgspec
import pytest

from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.messaging import polling
from posthouse.messaging.hearing import SETTLE_S, Hearing
from posthouse.messaging.polling import Poller
from posthouse.messaging.publish import Heads
from posthouse.model.entry import Entry
from posthouse.storage.base import Feed, FeedEntry, StorageUnavailable
from tests.messaging.fake_feed import FakeFeed


class Bench:
    """A poller in a node whose hints can be trusted, until the test says otherwise."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tasks = Tasks(self.clock)
        self.feed = FakeFeed()
        self.hearing = Hearing(["bus"], self.clock.monotonic)
        self.told: list[Heads] = []
        self.delivered: list[tuple[str, int]] = []
        self.rechecks = 0
        self.poller = Poller(
            cast("Feed", self.feed), self.hearing, self._recheck, self._deliver, self.told.append, self.clock
        )
        self.hearing.on_doubt = self.poller.wake

    def _deliver(self, items: Sequence[FeedEntry]) -> None:
        self.delivered.extend((item.entry.conv, item.entry.seq) for item in items)

    async def _recheck(self) -> None:
        self.rechecks += 1

    async def open(self) -> None:
        self.hearing.trust("bus")
        self.tasks.supervise("poll", self.poller.run)
        await self.clock.advance(SETTLE_S + 1)
        self.told.clear()
        self.delivered.clear()
        self.rechecks = 0

    def commit(self, conv: str, seq: int) -> None:
        self.feed.add(
            Entry(conv=conv, seq=seq, kind="message", at_ms=1, ordinal=seq, body=msgspec.Raw(b"{}"))
        )

    def newest(self) -> dict[str, int]:
        told = {conv: seq for heads in self.told for conv, seq in heads.get("app", {}).items()}
        return told | dict(self.delivered)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.open()
    yield bench
    await bench.tasks.close()


async def test_while_hints_can_be_trusted_the_feed_is_left_alone(bench: Bench) -> None:
    bench.commit("c", 1)
    rounds = bench.poller.rounds
    await bench.clock.advance(60)
    assert (bench.newest(), bench.rechecks, bench.poller.rounds) == ({}, 0, rounds)
    assert not bench.poller.active


async def test_in_doubt_rooms_look_at_once_and_then_hear_of_every_change(bench: Bench) -> None:
    """What came before the doubt is found by looking, what comes after it by asking the feed."""
    bench.commit("before", 1)
    bench.hearing.doubt("bus", "broken")
    await bench.clock.advance(0.01)
    assert (bench.rechecks, bench.newest()) == (1, {})
    for seq in range(1, 6):
        bench.commit("c", seq)
        await bench.clock.advance(0.6)
        assert bench.newest() == {"c": seq}
    assert bench.rechecks == 1


async def test_what_is_committed_while_rooms_look_is_heard_of(bench: Bench) -> None:
    """The place in the feed is taken before the rooms read their heads, not after."""
    bench.commit("c", 1)

    async def recheck() -> None:
        bench.commit("c", 2)

    bench.poller._recheck = recheck
    bench.hearing.doubt("bus", "broken")
    await bench.clock.advance(1)
    assert bench.newest() == {"c": 2}


async def test_after_recovery_it_goes_on_until_others_must_know_of_this_gateway(bench: Bench) -> None:
    bench.hearing.doubt("bus", "broken")
    await bench.clock.advance(5)
    bench.hearing.trust("bus")
    await bench.clock.advance(SETTLE_S - 0.5)
    bench.commit("c", 1)
    await bench.clock.advance(1)
    assert bench.newest() == {"c": 1}
    await bench.clock.advance(1)
    assert not bench.poller.active


async def test_what_is_new_is_delivered_once_and_in_the_order_of_commit(bench: Bench) -> None:
    bench.hearing.doubt("bus", "broken")
    await bench.clock.advance(1)
    committed = [("c", 1), ("d", 1), ("c", 2), ("c", 3), ("d", 2)]
    for number, (conv, seq) in enumerate(committed):
        bench.commit(conv, seq)
        await bench.clock.advance(0.2 * (number % 3))
    await bench.clock.advance(1)
    assert bench.delivered == committed
    assert bench.told == []


async def test_when_much_is_new_only_how_far_logs_go_is_asked_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every node would read every body, for the few rooms that it has."""
    monkeypatch.setattr(polling, "ENTRIES_MAX", 10)
    bench.hearing.doubt("bus", "broken")
    await bench.clock.advance(1)
    for seq in range(1, 26):
        bench.commit("c", seq)
    await bench.clock.advance(1)
    bench.commit("c", 26)
    await bench.clock.advance(1)
    assert bench.told == [{"app": {"c": 25}}]
    assert bench.delivered == [("c", 26)]


async def test_a_second_doubt_begins_anew(bench: Bench) -> None:
    bench.hearing.doubt("bus", "broken")
    await bench.clock.advance(1)
    bench.hearing.trust("bus")
    await bench.clock.advance(SETTLE_S + 1)
    bench.commit("between", 1)
    bench.hearing.doubt("bus", "broken again")
    await bench.clock.advance(1)
    assert bench.rechecks == 2


@pytest.mark.parametrize("faults", [1, 2, 3, 8])
async def test_a_database_that_is_away_loses_nothing(bench: Bench, faults: int) -> None:
    """After a fault the rooms look again, for the place in the feed is taken anew."""
    bench.hearing.doubt("bus", "broken")
    await bench.clock.advance(1)
    looked = bench.rechecks
    bench.feed.faults = [StorageUnavailable("away")] * faults
    await bench.clock.advance(10)
    assert bench.rechecks > looked
    bench.commit("c", 1)
    await bench.clock.advance(1)
    assert bench.newest() == {"c": 1}
    assert bench.tasks.crashes == 0
