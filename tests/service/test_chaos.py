"""The shortest scenarios with a cluster of another kind, or two faults: nothing is lost, doubled or disordered.

How long clients pause depends on the machine, and is measured by `posthouse chaos`, not here.
"""

from collections.abc import AsyncIterator

import pytest

from posthouse.load.chaos.recording import Recording
from posthouse.load.chaos.running import Chaos
from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.load.chaos.site import Load
from posthouse.testing.playground.plan import Plan

pytestmark = [pytest.mark.cluster, pytest.mark.serial, pytest.mark.timeout(400)]


@pytest.fixture
async def chaos() -> AsyncIterator[Chaos]:
    chaos = Chaos(Plan(), Load(rate=100, clients=60), print)
    yield chaos
    chaos.close()


async def played(chaos: Chaos, name: str) -> Recording:
    """What came of a scenario; the test is skipped where it cannot be run."""
    recording = await chaos.record(SCENARIOS[name], 1)
    if recording.reason:
        pytest.skip(recording.reason)
    assert (recording.lost, recording.duplicated, recording.reordered) == (0, 0, 0), recording.breaches
    assert recording.acked > 1_000
    return recording


async def test_a_hung_worker_is_replaced_by_its_supervisor(chaos: Chaos) -> None:
    recording = await played(chaos, "hung-worker")
    assert recording.detected_s is not None
    assert any("started another worker" in mark.what for mark in recording.marks), recording.breaches


async def test_clocks_that_are_two_minutes_apart_change_nothing(chaos: Chaos) -> None:
    await played(chaos, "skewed-clocks")


async def test_without_primary_and_synchronous_standby_sends_are_refused_and_nothing_acknowledged_vanishes(
    chaos: Chaos,
) -> None:
    recording = await played(chaos, "two-database-hosts")
    assert recording.refused > 0
    assert not [breach for breach in recording.breaches if "could make them safe" in breach]
