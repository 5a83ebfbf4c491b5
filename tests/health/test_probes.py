"""Probes: the last answer counts, and for a while only."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import cast

import pytest

from posthouse.health.probes import Probes
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.storage.base import Condition, Database


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
        self.probes = Probes(cast("Database", self.patient), self.clock)
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
    assert ward.probes.readiness() == (False, "the database takes no writes; reads are served: disk full")
    ward.patient.condition = Condition(True, True)
    await ward.clock.advance(2)
    assert ward.probes.readiness().ready


async def test_a_database_that_hangs_makes_the_node_unready(ward: Ward) -> None:
    """The worst green light is one that nobody switches any more."""
    ward.patient.answering.clear()
    await ward.clock.advance(5)
    assert ward.probes.readiness().ready
    await ward.clock.advance(10)
    assert "has not answered" in ward.probes.readiness().reason
    ward.patient.answering.set()
    await ward.clock.advance(1)
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
    assert ward.probes.readiness() == (False, "the node is draining")
