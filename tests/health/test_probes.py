"""Probes: the last answer counts, and for a while only."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from posthouse.health.probes import Probes, neighbours
from posthouse.health.readiness import ALONE_AFTER_S, Part
from posthouse.health.report import HealthReport, Peer
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.storage.base import Condition


class Patient:
    """A database in the condition that the test says, or one that does not answer at all."""

    def __init__(self) -> None:
        self.condition = Condition(True, True)
        self.answering = asyncio.Event()
        self.answering.set()

    async def probe(self) -> Condition:
        await self.answering.wait()
        return self.condition


class Ward:
    """Probes of such a database, on a clock that stands still."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.patient = Patient()
        self.probes = Probes({"main": self.patient}, self.clock, "n1")
        self.tasks = Tasks(self.clock)


@pytest.fixture
async def ward() -> AsyncIterator[Ward]:
    ward = Ward()
    await ward.probes.probe()
    ward.tasks.supervise("probes", ward.probes.run)
    await ward.clock.advance(0)
    yield ward
    await ward.tasks.close()


def test_a_node_that_has_not_asked_yet_is_starting() -> None:
    ward = Ward()
    assert not ward.probes.readiness().ready


async def test_a_database_that_fills_up_is_noticed_within_two_seconds_and_so_is_its_recovery(
    ward: Ward,
) -> None:
    assert ward.probes.readiness().ready
    ward.patient.condition = Condition(True, False, "disk full")
    await ward.clock.advance(2)
    assert ward.probes.readiness()[:2] == (
        False, "the database takes no writes; reads are served: disk full",
    )  # fmt: skip
    ward.patient.condition = Condition(True, True)
    await ward.clock.advance(2)
    assert ward.probes.readiness().ready


async def test_a_database_that_hangs_makes_the_node_unready(ward: Ward) -> None:
    """The worst green light is one that nobody switches any more."""
    ward.patient.answering.clear()
    await ward.clock.advance(5)
    assert ward.probes.readiness().ready
    await ward.clock.advance(10)
    assert "does not answer: nothing was heard of it for" in ward.probes.readiness().reason
    ward.patient.answering.set()
    await ward.clock.advance(2)
    assert ward.probes.readiness().ready


async def test_each_change_is_a_line_in_the_log_and_nothing_else(
    ward: Ward, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await ward.clock.advance(5)
        ward.patient.condition = Condition(False, False, "gone")
        await ward.clock.advance(5)
        ward.patient.condition = Condition(True, True)
        await ward.clock.advance(5)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_a_node_that_drains_is_not_ready(ward: Ward) -> None:
    ward.probes.draining = True
    assert ward.probes.readiness()[:2] == (False, "the node is draining")


# Peers --------------------------------------------------------------------------------------------------------------


class Neighbourhood:
    """Peers that answer their probes or do not."""

    def __init__(self, ward: Ward, *names: str) -> None:
        self.asked: list[str] = []
        self.silent: set[str] = set()
        ward.probes.peers = lambda: [Peer(name, f"http://{name}", HealthReport()) for name in names]
        ward.probes.reach = self.reach

    async def reach(self, url: str) -> Condition:
        self.asked.append(url)
        return Condition(url not in self.silent, True, "connection refused")


async def test_a_node_probes_the_next_ones_in_the_circle_and_tells_what_it_thinks_of_them(ward: Ward) -> None:
    peers = Neighbourhood(ward, "n0", "n1", "n2", "n3", "n4", "n5")
    peers.silent = {"http://n3"}
    await ward.clock.advance(5)
    assert set(peers.asked) == {"http://n2", "http://n3", "http://n4"}
    assert ward.probes.report().peers == {"n2": "live", "n3": "dead", "n4": "live"}
    assert ward.probes.peer_verdict("n3").reason == "it failed 2 times in a row: connection refused"


def test_every_node_is_probed_by_as_many_as_it_probes() -> None:
    names = [f"n{number}" for number in range(7)]
    peers = [Peer(name, "", HealthReport()) for name in names]
    probed = [peer.node for name in names for peer in neighbours(name, peers)]
    assert {probed.count(name) for name in names} == {3}


async def test_who_is_no_longer_a_neighbour_is_forgotten(ward: Ward) -> None:
    Neighbourhood(ward, "n2")
    await ward.clock.advance(3)
    ward.probes.peers = list
    await ward.clock.advance(3)
    assert ward.probes.report().peers == {}


async def test_a_database_that_this_node_alone_cannot_reach_is_told_apart(ward: Ward) -> None:
    ward.probes.peers = lambda: [Peer("n2", "", HealthReport(databases={"main": "failed"}))]
    ward.patient.condition = Condition(False, False, "gone")
    await ward.clock.advance(3)
    assert ward.probes.readiness().degraded
    ward.probes.peers = lambda: [Peer("n2", "", HealthReport(databases={"main": "ok"}))]
    assert ward.probes.readiness().degraded, "the other may just not have seen it yet"
    await ward.clock.advance(ALONE_AFTER_S)
    assert not ward.probes.readiness().ready
    ward.patient.condition = Condition(True, True)
    await ward.clock.advance(1)
    ward.patient.condition = Condition(False, False, "gone")
    await ward.clock.advance(3)
    assert ward.probes.readiness().degraded, "each time anew"


async def test_who_recovers_from_a_common_fault_a_moment_later_than_others_is_not_taken_out(
    ward: Ward,
) -> None:
    ward.probes.peers = lambda: [Peer("n2", "", HealthReport(databases={"main": "failed"}))]
    ward.patient.condition = Condition(False, False, "gone")
    await ward.clock.advance(10 * ALONE_AFTER_S)
    ward.probes.peers = lambda: [Peer("n2", "", HealthReport(databases={"main": "ok"}))]
    await ward.clock.advance(ALONE_AFTER_S / 2)
    assert ward.probes.readiness().degraded
    await ward.clock.advance(ALONE_AFTER_S)
    assert not ward.probes.readiness().ready


async def test_a_node_whose_loop_lags_distrusts_itself_and_says_so(ward: Ward) -> None:
    ward.probes.lag_ms = lambda: 1_500.0
    await ward.clock.advance(5)
    assert ward.probes.report().distrust > 0
    assert ward.probes.report().lagging
    assert ward.probes.readiness()[:2] == (False, "the event loop has been 1500 ms late for 5 s")
    ward.probes.lag_ms = lambda: 0.0
    await ward.clock.advance(2)
    assert ward.probes.readiness().ready


async def test_what_parts_say_of_themselves_counts(ward: Ward) -> None:
    ward.probes.more.append(lambda: [Part("canary", "failed", "nothing is delivered")])
    assert ward.probes.readiness()[:2] == (False, "nothing is delivered")
    assert ward.probes.report().canary == "failed"


async def test_who_dies_and_comes_back_is_news_once(ward: Ward) -> None:
    news: list[tuple[str, str]] = []
    ward.probes.on_verdict = lambda subject, verdict: news.append((subject, str(verdict.state)))
    peers = Neighbourhood(ward, "n2")
    await ward.clock.advance(20)
    peers.silent = {"http://n2"}
    await ward.clock.advance(20)
    peers.silent = set()
    await ward.clock.advance(20)
    assert news == [("node n2", "dead"), ("node n2", "live")]


async def test_a_cache_that_is_gone_degrades(ward: Ward) -> None:
    answers = [Condition(True, True), *[Condition(False, False, "refused")] * 100]

    async def ask() -> Condition:
        return answers.pop(0)

    probes = Probes({"main": ward.patient}, ward.clock, "n1")
    probes.watch("cache", ask)
    tasks = Tasks(ward.clock)
    await probes.probe()
    tasks.supervise("probes", probes.run)
    await ward.clock.advance(3)
    await tasks.close()
    assert probes.readiness()[:3] == (
        True, "ready, but degraded: the cache does not answer: refused", True,
    )  # fmt: skip
    assert probes.report().cache == "failed"
