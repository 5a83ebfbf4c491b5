"""Many seeds: one that does not come to an end, or breaks off, is told like one that breaks a promise."""

import pytest

from posthouse.testing.history import Verdict
from posthouse.testing.simulation import seeds
from posthouse.testing.simulation.faults import Fault, Kind
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


@pytest.mark.parametrize(
    ("sent", "faults", "told"),
    [
        (199, 5, ("it made 199 sends, at least 200 are wanted",)),
        (200, 5, ()),
        (200, 4, ("it made 4 faults, at least 5 are wanted",)),
    ],
)
def test_a_story_that_shows_too_little_has_failed(
    monkeypatch: pytest.MonkeyPatch, sent: int, faults: int, told: tuple[str, ...]
) -> None:
    def simulate(seed: int, story: Story) -> None:
        story.verdict = Verdict(sent=sent, acked=sent)
        story.faults = [Fault(1.0, Kind.CUT, "node-1", 1.0)] * faults

    monkeypatch.setattr(seeds, "simulate", simulate)
    assert seeds.outcome(9).failures == told


def test_the_outcomes_of_many_seeds_come_from_several_processes() -> None:
    told = sorted(seeds.outcomes(0, 3, jobs=2))
    assert [each.seed for each in told] == [0, 1, 2]
    assert all(each.acked >= 200 and not each.failures for each in told)
