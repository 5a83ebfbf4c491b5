"""Two faults at once are refusals and no acknowledgements; random ones are repeated by a seed, never hit one part
twice, and allow what follows from what is drawn.
"""

import random
from typing import Any

import pytest

from posthouse.load.chaos.recording import Mark
from posthouse.load.chaos.running import fault_of
from posthouse.load.chaos.several import MENU, allowed, drawn, two_database_hosts
from posthouse.load.chaos.site import Kind, Site
from posthouse.testing.playground.plan import ClusterStatus

ROUNDS = 400


class Imagined(Site):
    """One without servers and clients, in which time passes when it is told to."""

    def __init__(self, acked: int, refused: int) -> None:
        self.marks: list[tuple[float, Mark]] = []
        self.breaches: list[str] = []
        self.at = 100.0
        self._acked, self._refused = acked, refused

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds

    async def do(self, verb: str, what: str, kind: Kind = "fault", **how: Any) -> str:
        self.note(f"{verb} {what}", kind)
        return what

    async def acks(self, since: float, until: float, scope: str = "") -> int:
        return self._acked

    async def refusals(self, since: float, until: float) -> int:
        return self._refused

    async def status(self) -> ClusterStatus:
        return ClusterStatus(state="up", seconds=0.0)


async def test_without_anybody_to_make_them_safe_sends_must_be_refused() -> None:
    """And times begin with the kills, though clients are looked at from the repair on."""
    site = Imagined(acked=0, refused=7)
    window = (await two_database_hosts(site))[0]
    assert site.breaches == []
    assert (fault_of(window, site.marks), window.since) == (100.0, 130.0)


@pytest.mark.parametrize(
    ("acked", "refused", "told"),
    [(3, 7, "3 sends were acknowledged while"), (0, 0, "No send was refused while")],
)
async def test_what_is_not_refused_breaks_the_promise(acked: int, refused: int, told: str) -> None:
    site = Imagined(acked, refused)
    await two_database_hosts(site)
    (breach,) = site.breaches
    assert breach.startswith(told)


def test_a_seed_draws_the_same_faults_again() -> None:
    first, again = ([drawn(random.Random(seed)) for seed in range(20)] for _ in range(2))
    assert first == again
    assert len({fault.what for faults in first for fault in faults}) > 5


def test_everything_is_drawn_sometimes_and_two_faults_hit_different_parts() -> None:
    chance = random.Random(0)
    rounds = [drawn(chance) for _ in range(ROUNDS)]
    assert {(fault.verb, fault.part, fault.undo) for faults in rounds for fault in faults} == {
        (fault.verb, fault.part, fault.undo) for fault in MENU
    }
    pairs = [faults for faults in rounds if len(faults) == 2]
    assert 0.3 < len(pairs) / ROUNDS < 0.5
    assert all(first.part != second.part for first, second in pairs)


def test_two_faults_are_allowed_as_long_as_one_after_the_other() -> None:
    kill = next(fault for fault in MENU if fault.what == "database-a primary")
    freeze = next(fault for fault in MENU if fault.verb == "pause" and fault.part == "node")
    assert allowed([freeze]) == (8.0, "")
    assert allowed([freeze, kill]) == (38.0, "a")
