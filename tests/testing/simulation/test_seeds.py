"""Many seeds: one that does not come to an end, or breaks off, is told like one that breaks a promise."""

import pytest

from posthouse.testing.simulation import seeds
from posthouse.testing.simulation.world import Story, World


def test_a_story_that_does_not_end_is_ended_and_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def simulate(seed: int, story: Story) -> Story:
        while True:
            pass

    monkeypatch.setattr(seeds, "simulate", simulate)
    monkeypatch.setattr(seeds, "CPU_S_MAX", 0.05)
    told = seeds.outcome(7)
    assert told.seed == 7
    assert "Overdue('0.05 s of CPU') " in told.failures[0]


def test_a_story_that_breaks_off_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def settle(world: World, story: Story) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(World, "_settle", settle)
    assert "ZeroDivisionError('oh')" in seeds.outcome(8).failures[0]


def test_the_outcomes_of_many_seeds_come_from_several_processes() -> None:
    told = sorted(seeds.outcomes(0, 3, jobs=2))
    assert [each.seed for each in told] == [0, 1, 2]
    assert all(each.acked >= 200 and not each.failures for each in told)
