"""What every policy keeps, whichever it is."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, strategies as st

from posthouse.balance.guards import Guards, guarded
from posthouse.balance.named import NAMES, UnknownPolicy, policy
from posthouse.balance.policy import RATIO_MAX, By, Policy, draw
from posthouse.balance.report import LoadReport, Snapshot, snapshot_of
from tests.balance.strategies import NOW, UNIFORMS, fleets

LOADS: list[By] = ["connections", "in-flight", "utilisation"]
POLICIES = st.builds(policy, st.sampled_from(NAMES), st.sampled_from(LOADS))
SNAPSHOTS = fleets().map(lambda fleet: guarded(fleet, NOW, {}, Guards())[0])


@given(POLICIES, SNAPSHOTS, st.lists(UNIFORMS, min_size=1, max_size=8))
def test_only_candidates_are_chosen_and_the_reason_names_them(
    chosen: Policy[Any], snapshot: Snapshot, uniforms: list[float]
) -> None:
    state = chosen.start()
    for uniform in uniforms:
        decision, state = chosen.choose(snapshot, state, uniform)
        if snapshot.candidates:
            assert decision.target in {target.id for target in snapshot.candidates}
            assert decision.reason.startswith(f"{decision.target}: ")
            assert snapshot.panic in decision.reason
        else:
            assert (decision.target, decision.reason) == (None, snapshot.why_nobody)


@given(POLICIES, SNAPSHOTS)
def test_a_ranking_shares_all_the_work_among_the_candidates_the_largest_share_first(
    chosen: Policy[Any], snapshot: Snapshot
) -> None:
    ranking = chosen.rank(snapshot)
    assert set(ranking) == {target.id for target in snapshot.candidates}
    assert sum(ranking.values()) == pytest.approx(1 if ranking else 0)
    assert all(share > 0 for share in ranking.values())
    assert list(ranking.values()) == sorted(ranking.values(), reverse=True)


@given(POLICIES, fleets(), st.lists(UNIFORMS, max_size=4), st.randoms(use_true_random=False))
def test_the_same_inputs_give_the_same_decisions_in_whatever_order_reports_come(
    chosen: Policy[Any], fleet: list[LoadReport], uniforms: list[float], chance: Random
) -> None:
    shuffled = fleet.copy()
    chance.shuffle(shuffled)
    one, other = snapshot_of(fleet, NOW), snapshot_of(shuffled, NOW)
    state, other_state = chosen.start(), chosen.start()
    for uniform in uniforms:
        decision, state = chosen.choose(one, state, uniform)
        assert chosen.choose(other, other_state, uniform) == (decision, state)
        other_state = state


@given(POLICIES, SNAPSHOTS, UNIFORMS)
def test_a_choice_changes_no_state_but_the_one_it_returns(
    chosen: Policy[Any], snapshot: Snapshot, uniform: float
) -> None:
    state = chosen.start()
    first = chosen.choose(snapshot, state, uniform)
    assert state == chosen.start()
    assert chosen.choose(snapshot, state, uniform) == first


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learned_favours_nobody_without_bound(name: str) -> None:
    """One idle newcomer among thousands of sessions is given more than its share, but not everything."""
    busy = [LoadReport(f"t{n}", at=NOW, connections=10**5, cpu=0.9, latency_ms=900) for n in range(9)]
    idle = LoadReport("idle", at=NOW, connections=0, cpu=0.11, deliveries_per_s=1e6, latency_ms=1)
    ranking = policy(name).rank(snapshot_of([*busy, idle], NOW))
    assert ranking["idle"] <= RATIO_MAX**2 * min(ranking.values()) * (1 + 1e-9)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), UNIFORMS)
def test_a_draw_keeps_to_the_weights_and_leaves_a_uniform_number(
    weights: list[float], uniform: float
) -> None:
    index, rest = draw(weights, uniform)
    assert 0 <= rest < 1
    point = uniform * sum(weights)
    assert sum(weights[:index]) - 1e-9 <= point <= sum(weights[: index + 1]) + 1e-9
    rebuilt = sum(weights[:index]) + rest * weights[index]
    assert rebuilt == pytest.approx(point, abs=1e-9)


def test_a_policy_of_another_name_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(
        UnknownPolicy, match=r"no policy is called 'least-conections'; did you mean 'least-connections'\?"
    ):
        policy("least-conections")
    with pytest.raises(
        UnknownPolicy, match="no policy is called 'zzz'; There are static-weights, round-robin"
    ):
        policy("zzz")


@pytest.mark.parametrize("name", NAMES)
def test_panic_is_told_with_the_decision(name: str) -> None:
    fleet = [LoadReport(f"t{n}", at=NOW, healthy=False) for n in range(3)]
    snapshot, _ = guarded(fleet, NOW, {}, Guards())
    chosen = policy(name)
    decision, _ = chosen.choose(snapshot, chosen.start(), 0.5)
    assert decision.reason.endswith("(panic: 0 of 3 healthy, so health is ignored)")
