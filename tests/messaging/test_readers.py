"""The roster: what follows from entries follows once, whatever crashes on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import msgspec
import pytest

from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.messaging import readers
from posthouse.messaging.readers import APPENDS_MAX, Roster
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, MEMBER_JOINED, MEMBER_LEFT
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, Feed, InboxChange, Outcome, Refused
from tests.messaging.fake_feed import FakeFeed, membership


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tasks(clock: ManualClock) -> AsyncIterator[Tasks]:
    tasks = Tasks(clock)
    yield tasks
    await tasks.close()


class Accounts:
    """Account logs: each append once by its name, as the port promises. `answer` may refuse one first."""

    def __init__(self) -> None:
        self.written: dict[tuple[str, str], Append] = {}
        self.asked = 0
        self.together = 0
        self.under_way = 0
        self.answer: Callable[[Append], Outcome | None] = lambda append: None

    async def append(self, append: Append) -> Outcome:
        self.asked += 1
        self.under_way += 1
        self.together = max(self.together, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        refused = self.answer(append)
        if refused is not None:
            return refused
        key = (append.conv, append.client_id)
        known = key in self.written
        self.written.setdefault(key, append)
        return Appended(1, 1, 0, duplicate=known)

    def said(self) -> list[tuple[str, str, str]]:
        return [
            (log, each.kind, cast("InboxChange", each.change).conv) for (log, _), each in self.written.items()
        ]


class RosterBench:
    """A roster with its feed and the account logs that it writes."""

    def __init__(self, clock: ManualClock) -> None:
        self.feed = FakeFeed()
        self.accounts = Accounts()
        self.roster = Roster(cast("Feed", self.feed), self.accounts.append, clock)


async def test_each_membership_becomes_an_entry_in_the_account_log_of_each_user(
    tasks: Tasks, clock: ManualClock
) -> None:
    bench = RosterBench(clock)
    bench.feed.add(membership("c", 1, users=["ann", "ben"]))
    bench.feed.add(membership("c", 2, "message"))
    bench.feed.add(membership("c", 3, MEMBER_JOINED, ["cyd"]))
    bench.feed.add(membership("c", 4, MEMBER_LEFT, ["ben"]))
    tasks.supervise("roster", bench.roster.run)
    await clock.advance(0.1)
    assert bench.accounts.said() == [
        ("~ann", ACCOUNT_JOINED, "c"),
        ("~ben", ACCOUNT_JOINED, "c"),
        ("~cyd", ACCOUNT_JOINED, "c"),
        ("~ben", ACCOUNT_LEFT, "c"),
    ]
    bodies = [msgspec.json.decode(each.body) for each in bench.accounts.written.values()]
    assert bodies[2:] == [{"conv": "c", "joined_seq": 3}, {"conv": "c", "left_seq": 4}]
    assert bench.feed.positions["roster"] == bench.feed.entries[-1].position


async def test_a_wake_up_is_answered_at_once_and_never_lost(tasks: Tasks, clock: ManualClock) -> None:
    bench = RosterBench(clock)
    tasks.supervise("roster", bench.roster.run)
    await clock.advance(0.1)
    bench.feed.add(membership("c", 1, users=["ann"]))
    bench.roster.wake()
    await clock.advance(0)
    assert bench.accounts.said() == [("~ann", ACCOUNT_JOINED, "c")]


async def test_without_a_wake_up_a_membership_is_found_within_a_second(
    tasks: Tasks, clock: ManualClock
) -> None:
    """Another node may have written it."""
    bench = RosterBench(clock)
    tasks.supervise("roster", bench.roster.run)
    await clock.advance(0.1)
    bench.feed.add(membership("c", 1, users=["ann"]))
    await clock.advance(1)
    assert bench.accounts.said() == [("~ann", ACCOUNT_JOINED, "c")]


async def test_a_database_that_refuses_half_way_leaves_nobody_out_and_tells_nobody_twice(
    tasks: Tasks, clock: ManualClock
) -> None:
    bench = RosterBench(clock)
    bench.feed.add(membership("c", 1, users=[f"u{n}" for n in range(1_000)]))
    failing = [f"~u{n}" for n in (0, 499, 501, 999)]

    def refuse_once(append: Append) -> Outcome | None:
        if append.conv not in failing:
            return None
        failing.remove(append.conv)
        return Refused(Code.UNAVAILABLE, "away")

    bench.accounts.answer = refuse_once
    tasks.supervise("roster", bench.roster.run)
    await clock.advance(0.1)
    await clock.advance(20)
    assert [log for log, _, _ in sorted(bench.accounts.said())] == sorted(f"~u{n}" for n in range(1_000))
    assert len(bench.accounts.written) == 1_000
    assert bench.feed.positions["roster"] == bench.feed.entries[-1].position


async def test_however_many_join_at_once_only_some_of_their_entries_are_under_way(
    tasks: Tasks, clock: ManualClock
) -> None:
    """A queue filled by three groups of ten thousand would refuse clients' sends, and the roster's own for ever."""
    bench = RosterBench(clock)
    for seq in range(1, 31):
        bench.feed.add(membership("c", seq, MEMBER_JOINED, [f"u{seq}-{n}" for n in range(1_000)]))
    tasks.supervise("roster", bench.roster.run)
    for _ in range(200):
        await clock.advance(0)
    assert bench.accounts.asked == len(bench.accounts.written) == 30_000
    assert bench.accounts.together == APPENDS_MAX


async def test_an_entry_that_is_refused_for_good_is_counted_and_keeps_nobody_waiting(
    tasks: Tasks, clock: ManualClock
) -> None:
    bench = RosterBench(clock)
    bench.feed.add(membership("c", 1, users=["ann", "bad", "cyd"]))
    bench.accounts.answer = lambda append: (
        Refused(Code.CONFLICT, "other content") if append.conv == "~bad" else None
    )
    tasks.supervise("roster", bench.roster.run)
    await clock.advance(0.1)
    assert [log for log, _, _ in bench.accounts.said()] == ["~ann", "~cyd"]
    assert (bench.roster.refused, tasks.crashes) == (1, 0)
    assert bench.feed.positions["roster"] == bench.feed.entries[-1].position


async def test_a_database_that_is_away_keeps_waiting_only_those_who_live_there(
    tasks: Tasks, clock: ManualClock
) -> None:
    """Where the reader has got to is not remembered before they have their entries too."""
    bench = RosterBench(clock)
    away = Refused(Code.UNAVAILABLE, "away")
    bench.accounts.answer = lambda append: away if append.conv == "~ben" else None
    tasks.supervise("roster", bench.roster.run)
    for seq, user in enumerate(("ben", "ann", "ben", "cyd"), start=1):
        bench.feed.add(membership(f"c{seq}", seq, users=[user]))
    await clock.advance(0.1)
    await clock.advance(5)
    assert [log for log, _, _ in bench.accounts.said()] == ["~ann", "~cyd"]
    assert (bench.roster.owed, "roster" in bench.feed.positions) == (2, False)
    bench.accounts.answer = lambda append: None
    await clock.advance(2)
    assert [conv for log, _, conv in bench.accounts.said() if log == "~ben"] == ["c1", "c3"]
    assert bench.feed.positions["roster"] == bench.feed.entries[-1].position
    assert tasks.crashes == 0


async def test_what_happened_to_one_user_is_written_in_order_whatever_is_refused(
    tasks: Tasks, clock: ManualClock
) -> None:
    """G3: read together, and the first of it is refused for now, as at a database that is back that very moment."""
    bench = RosterBench(clock)
    for seq, kind in enumerate((MEMBER_JOINED, MEMBER_LEFT, MEMBER_JOINED), start=1):
        bench.feed.add(membership("c", seq, kind, ["ann", "ben"]))
    refusals = [Refused(Code.UNAVAILABLE, "away")] * 2
    bench.accounts.answer = lambda append: (
        refusals.pop() if append.conv == "~ann" and append.client_id == "1:c" and refusals else None
    )
    tasks.supervise("roster", bench.roster.run)
    await clock.advance(0.1)
    await clock.advance(5)
    for log in ("~ann", "~ben"):
        kinds = [kind for each, kind, _ in bench.accounts.said() if each == log]
        assert kinds == [ACCOUNT_JOINED, ACCOUNT_LEFT, ACCOUNT_JOINED]
    assert bench.feed.positions["roster"] == bench.feed.entries[-1].position


async def test_a_new_reader_makes_good_what_the_one_before_owed(clock: ManualClock) -> None:
    bench = RosterBench(clock)
    bench.feed.add(membership("c", 1, users=["ann", "ben"]))
    bench.accounts.answer = lambda append: (
        Refused(Code.UNAVAILABLE, "away") if append.conv == "~ben" else None
    )
    before, after = Tasks(clock), Tasks(clock)
    before.supervise("roster", bench.roster.run)
    await clock.advance(0.1)
    await before.close()
    bench.accounts.answer = lambda append: None
    after.supervise("roster", Roster(cast("Feed", bench.feed), bench.accounts.append, clock).run)
    await clock.advance(0.1)
    await after.close()
    assert [log for log, _, _ in bench.accounts.said()] == ["~ann", "~ben"]


async def test_what_is_owed_is_bounded(
    tasks: Tasks, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "OWED_ENTRIES_MAX", 10)
    bench = RosterBench(clock)
    bench.accounts.answer = lambda append: Refused(Code.UNAVAILABLE, "away")
    bench.feed.add(membership("c", 1, users=[f"u{n}" for n in range(20)]))
    tasks.supervise("roster", bench.roster.run)
    await clock.advance(0.1)
    assert (tasks.crashes, bench.feed.positions) == (1, {})
    bench.accounts.answer = lambda append: None
    await clock.advance(10)
    assert len(bench.accounts.written) == 20
