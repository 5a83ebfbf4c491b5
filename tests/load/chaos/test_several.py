"""Random faults: a seed repeats them, two never hit the same part, and what is allowed follows from what is drawn."""

import random

from posthouse.load.chaos.several import MENU, allowed, drawn

ROUNDS = 400


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
