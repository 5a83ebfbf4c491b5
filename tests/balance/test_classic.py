"""The classic policies: exact turns, the least load, the better of two."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from posthouse.balance.classic import LeastLoad, RoundRobin, StaticWeights, TwoChoices
from posthouse.balance.guards import slow_start
from posthouse.balance.policy import By, Policy
from posthouse.balance.report import LoadReport, Snapshot, snapshot_of
from tests.balance.strategies import NOW, UNIFORMS

GRID = [(n + 0.5) / 6000 for n in range(6000)]


def snapshot(**connections: int) -> Snapshot:
    return snapshot_of([LoadReport(name, at=NOW, connections=n) for name, n in connections.items()], NOW)


def weighted(**weights: float) -> Snapshot:
    return snapshot_of([LoadReport(name, at=NOW, weight=weight) for name, weight in weights.items()], NOW)


def choices(chosen: Policy[Any], on: Snapshot, count: int, uniform: float = 0.0) -> list[str | None]:
    """So many choices in a row."""
    made, state = [], chosen.start()
    for _ in range(count):
        decision, state = chosen.choose(on, state, uniform)
        made.append(decision.target)
    return made


def spread(chosen: Policy[Any], on: Snapshot) -> dict[str | None, float]:
    """The share of each target over evenly spaced random numbers."""
    made = Counter(chosen.choose(on, chosen.start(), uniform)[0].target for uniform in GRID)
    return {target: number / len(GRID) for target, number in made.items()}


def test_static_weights_draw_in_proportion() -> None:
    assert spread(StaticWeights(), weighted(a=1, b=2, c=3)) == pytest.approx(
        {"a": 1 / 6, "b": 2 / 6, "c": 3 / 6}
    )


def test_smooth_weighted_round_robin_gives_nginx_own_example() -> None:
    assert choices(RoundRobin(weighted=True), weighted(a=5, b=1, c=1), 7) == list("aabacaa")


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1),
    UNIFORMS,
    st.integers(0, 50),
)
def test_any_window_of_a_cycle_gives_each_exactly_its_weight(
    weights: dict[str, int], uniform: float, begin: int
) -> None:
    cycle = sum(weights.values())
    made = choices(RoundRobin(weighted=True), weighted(**weights), begin + cycle, uniform)
    assert Counter(made[begin:]) == weights


@given(st.integers(2, 9), UNIFORMS)
def test_round_robin_takes_each_in_turn_whatever_its_weight(count: int, uniform: float) -> None:
    on = weighted(**{f"t{n}": n + 1 for n in range(count)})
    made = choices(RoundRobin(weighted=False), on, 3 * count, uniform)
    assert Counter(made[:count]) == Counter(made[count : 2 * count]) == dict.fromkeys(made, 1)
    assert all(one != next_ for one, next_ in pairwise(made))


def test_balancers_that_start_together_start_with_different_targets() -> None:
    assert spread(RoundRobin(weighted=False), weighted(a=1, b=1, c=1)) == pytest.approx(
        dict.fromkeys("abc", 1 / 3)
    )


def test_turns_go_on_when_targets_come_and_go() -> None:
    chosen = RoundRobin(weighted=False)
    _, state = chosen.choose(weighted(a=1, b=1), chosen.start(), 0.0)
    made = []
    for _ in range(6):
        decision, state = chosen.choose(weighted(b=1, c=1, d=1), state, 0.0)
        made.append(decision.target)
    assert Counter(made) == {"b": 2, "c": 2, "d": 2}


@pytest.mark.parametrize(
    ("weighted", "expected"), [(False, "small"), (True, "large")], ids=["as counted", "for its weight"]
)
def test_least_connections_is_as_counted_or_for_the_weight(weighted: bool, expected: str) -> None:
    fleet = [
        LoadReport("small", at=NOW, connections=60, weight=1),
        LoadReport("large", at=NOW, connections=100, weight=2),
    ]
    decision, _ = LeastLoad("connections", weighted).choose(snapshot_of(fleet, NOW), None, 0.5)
    assert decision.target == expected


def test_equals_share_instead_of_the_first_taking_all() -> None:
    on = snapshot(a=7, b=7, c=7, full=8)
    assert spread(LeastLoad("connections", weighted=True), on) == pytest.approx(dict.fromkeys("abc", 1 / 3))


@pytest.mark.parametrize(
    ("by", "expected"), [("connections", "few"), ("in-flight", "quick"), ("utilisation", "cool")]
)
def test_what_counts_as_load_is_a_matter_of_choice(by: By, expected: str) -> None:
    fleet = [
        LoadReport("few", at=NOW, connections=1, in_flight=9, cpu=0.9),
        LoadReport("quick", at=NOW, connections=9, in_flight=1, cpu=0.8),
        LoadReport("cool", at=NOW, connections=8, in_flight=8, cpu=0.1),
    ]
    decision, _ = LeastLoad(by, weighted=True).choose(snapshot_of(fleet, NOW), None, 0.5)
    assert decision.target == expected


def test_the_reason_tells_the_load() -> None:
    on = snapshot(a=3, b=5)
    least, _ = LeastLoad("connections", weighted=True).choose(on, None, 0.0)
    assert least.reason == "a: 3 connections, the least of 2 for its weight"
    better, _ = TwoChoices("connections").choose(on, None, 0.9)
    assert better.reason == "a: 3 connections, against b with 5 connections"


def test_a_newcomer_in_slow_start_is_filled_only_up_to_its_factor() -> None:
    """At half its window it may hold half of what the others hold, and then it is no longer the least."""
    old = LoadReport("old", at=NOW, connections=99)
    chosen = LeastLoad("connections", weighted=True)
    for held, expected in ((48, "new"), (51, "old")):
        new = LoadReport("new", at=NOW, connections=held, since=NOW - 15)
        decision, _ = chosen.choose(slow_start(snapshot_of([old, new], NOW), 30), None, 0.5)
        assert decision.target == expected


def test_two_choices_never_takes_the_fullest_and_takes_the_emptiest_when_it_is_drawn() -> None:
    """Of four, each of six pairs is as likely: 3/6, 2/6, 1/6, 0."""
    made = spread(TwoChoices("connections"), snapshot(a=1, b=20, c=300, d=4000))
    assert made == pytest.approx({"a": 3 / 6, "b": 2 / 6, "c": 1 / 6}, abs=0.01)


def test_two_choices_draws_by_weight() -> None:
    """Equally full: the weight decides who is drawn, and of a drawn pair each is as likely."""
    fleet = [
        LoadReport(name, at=NOW, connections=round(100 * w) - 1, weight=w)
        for name, w in (("a", 1), ("b", 1), ("c", 4))
    ]
    made = spread(TwoChoices("connections"), snapshot_of(fleet, NOW))
    assert made["c"] > 1.3 * made["a"]
    assert made["a"] == pytest.approx(made["b"], abs=0.01)


def test_the_only_target_is_chosen_by_two_choices_too() -> None:
    decision, _ = TwoChoices("connections").choose(snapshot(only=4), None, 0.3)
    assert decision.reason == "only: 4 connections, against nobody"
