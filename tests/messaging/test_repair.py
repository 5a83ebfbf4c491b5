"""Repair: whoever runs it, everybody concerned hears how far logs go, however often something fails on the way."""

from collections.abc import AsyncIterator
from typing import cast

import msgspec
import pytest

from posthouse.bus.base import BusUnavailable
from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.messaging import repair
from posthouse.messaging.notes import CoveredNote, HeadsNote, decode_notes
from posthouse.messaging.publish import Publisher
from posthouse.messaging.repair import Repair
from posthouse.model.entry import Entry
from posthouse.storage.base import Feed, StorageUnavailable
from tests.messaging.fake_feed import FakeFeed


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tasks(clock: ManualClock) -> AsyncIterator[Tasks]:
    tasks = Tasks(clock)
    yield tasks
    await tasks.close()


class FlakyBus(MemoryBus):
    """A bus that is down while `down` is set."""

    down = False

    async def publish(self, gateway: str, message: bytes) -> bool:
        if self.down:
            raise BusUnavailable("down")
        return await super().publish(gateway, message)


class Bench:
    """A feed, and what two gateways that follow two logs are told by whoever repairs."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.feed = FakeFeed()
        self.bus = FlakyBus()
        self.routes = MemoryRoutes()
        self.told: dict[str, list[dict[str, int]]] = {"n": [], "m": []}
        self.live = ["n"]
        self.publisher = Publisher(self.bus, self.routes, lambda: self.live)

    async def open(self, *gateways: str) -> "Bench":
        self.live = list(gateways or ["n"])
        for name in self.live:
            await self.listen(name)
            await self.routes.register(name, [("app", "c"), ("app", "d")])
        return self

    def repair(self) -> Repair:
        return Repair(cast("Feed", self.feed), self.publisher, self.clock)

    async def listen(self, gateway: str) -> None:
        def hear(message: bytes) -> None:
            notes = decode_notes(message)
            self.told[gateway].extend(note.heads for note in notes if isinstance(note, HeadsNote))

        await self.bus.subscribe(gateway, hear)

    def commit(self, conv: str, seq: int) -> None:
        self.feed.add(
            Entry(conv=conv, seq=seq, kind="message", at_ms=1, ordinal=seq, body=msgspec.Raw(b"{}"))
        )


async def test_the_newest_seq_of_what_changed_is_told_within_two_seconds(
    tasks: Tasks, clock: ManualClock
) -> None:
    """P-9.15: but not at once, for most hints arrive by themselves."""
    bench = await Bench(clock).open()
    bench.commit("old", 9)
    tasks.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    for conv, seq in (("c", 1), ("c", 2), ("d", 7), ("nobody follows it", 1)):
        bench.commit(conv, seq)
    await clock.advance(0.8)
    assert bench.told["n"] == []
    await clock.advance(1.2)
    assert bench.told["n"] == [{"c": 2, "d": 7}]
    await clock.advance(10)
    assert len(bench.told["n"]) == 1


@pytest.mark.parametrize("faults", [1, 2, 3, 7])
async def test_a_database_that_is_away_for_a_while_makes_repair_late_not_forgetful(
    tasks: Tasks, clock: ManualClock, faults: int
) -> None:
    """A commit in doubt is told of by nobody else (G4)."""
    bench = await Bench(clock).open()
    bench.commit("old", 1)
    tasks.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    bench.commit("c", 1)
    bench.feed.faults = [StorageUnavailable("away")] * faults
    await clock.advance(1)
    bench.commit("d", 1)
    await clock.advance(60)
    assert {conv: seq for heads in bench.told["n"] for conv, seq in heads.items()} == {"c": 1, "d": 1}


async def test_heads_that_the_bus_does_not_take_are_told_again(tasks: Tasks, clock: ManualClock) -> None:
    bench = await Bench(clock).open()
    bench.commit("old", 1)
    tasks.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    bench.bus.down = True
    bench.commit("c", 1)
    await clock.advance(10)
    assert bench.told["n"] == []
    bench.bus.down = False
    await clock.advance(10)
    assert bench.told["n"] == [{"c": 1}]


async def test_whoever_takes_over_begins_where_the_other_was(clock: ManualClock) -> None:
    """What was committed between one holder's death and the next one's first look was told by neither."""
    bench = await Bench(clock).open()
    bench.commit("old", 1)
    before, after = Tasks(clock), Tasks(clock)
    before.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    await clock.advance(3)
    await before.close()
    bench.commit("c", 5)
    await clock.advance(5)
    after.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    await clock.advance(3)
    await after.close()
    assert bench.told["n"] == [{"c": 5}]


async def test_the_very_first_run_tells_what_was_committed_since_the_first_node_began(
    tasks: Tasks, clock: ManualClock
) -> None:
    """Somebody comes to run it seconds later, when clients have long been served."""
    bench = await Bench(clock).open()
    bench.commit("old", 1)
    await bench.repair().prepare()
    bench.commit("c", 1)
    tasks.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    await clock.advance(2)
    assert bench.told["n"] == [{"c": 1}]


async def test_each_round_says_from_where_to_where_it_has_told_also_when_there_was_nothing(
    tasks: Tasks, clock: ManualClock
) -> None:
    """In the message that has the heads: who misses one misses both, and sees it by the next."""
    bench = await Bench(clock).open()
    bench.commit("old", 1)
    messages = []
    await bench.bus.subscribe("n", lambda message: messages.append(decode_notes(message)))
    tasks.supervise("repair", Repair(cast("Feed", bench.feed), bench.publisher, clock, "a").run)
    await clock.advance(0.1)
    bench.commit("c", 1)
    await clock.advance(5)
    covered = [note for notes in messages if isinstance(note := notes[-1], CoveredNote)]
    assert [note.database for note in covered] == ["a"] * len(messages)
    assert [note.after for note in covered[1:]] == [note.until for note in covered[:-1]]
    assert [len(notes) for notes in messages].count(2) == 1
    assert len(messages) >= 4


async def test_a_gateway_that_does_not_listen_is_told_later_and_holds_up_nobody(
    tasks: Tasks, clock: ManualClock
) -> None:
    bench = await Bench(clock).open("n", "m")
    bench.commit("old", 1)
    tasks.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    await bench.bus.unsubscribe("m")
    bench.commit("c", 1)
    await clock.advance(3)
    bench.commit("d", 4)
    await clock.advance(3)
    assert bench.told == {"n": [{"c": 1}, {"d": 4}], "m": []}
    await bench.listen("m")
    await clock.advance(3)
    assert bench.told["m"] == [{"c": 1, "d": 4}]
    assert tasks.crashes == 0


async def test_what_is_owed_to_a_gateway_survives_whoever_owes_it(clock: ManualClock) -> None:
    bench = await Bench(clock).open("n", "m")
    bench.commit("old", 1)
    before, after = Tasks(clock), Tasks(clock)
    before.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    await bench.bus.unsubscribe("m")
    bench.commit("c", 1)
    await clock.advance(5)
    await before.close()
    await bench.listen("m")
    after.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    await clock.advance(5)
    await after.close()
    assert bench.told["m"] == [{"c": 1}]


async def test_what_is_owed_to_a_gateway_that_is_gone_is_forgotten(tasks: Tasks, clock: ManualClock) -> None:
    bench = await Bench(clock).open("n", "m")
    bench.commit("old", 1)
    tasks.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    await bench.bus.unsubscribe("m")
    bench.commit("c", 1)
    await clock.advance(3)
    bench.live = ["n"]
    await clock.advance(3)
    assert bench.feed.positions["repair"] == bench.feed.entries[-1].position


async def test_what_is_owed_is_bounded(
    tasks: Tasks, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit all is told again from where everybody had been told."""
    monkeypatch.setattr(repair, "OWED_LOGS_MAX", 1)
    bench = await Bench(clock).open("n", "m")
    bench.commit("old", 1)
    tasks.supervise("repair", bench.repair().run)
    await clock.advance(0.1)
    await bench.bus.unsubscribe("m")
    bench.commit("c", 1)
    bench.commit("d", 1)
    await clock.advance(3)
    assert tasks.crashes > 0
    await bench.listen("m")
    await clock.advance(30)
    assert bench.told["m"][-1] == {"c": 1, "d": 1}
