"""The simulation in bench/balance: it repeats by seed, and shows what each guard and policy is for."""

from dataclasses import replace

import pytest

from bench.balance import moving, requests, sessions
from bench.balance.__main__ import MOVING, REQUESTS, SESSIONS, Row, percentile, tables
from posthouse.balance.named import NAMES
from tests.tidy.source import ROOT

SHORT_S = 25.0


def simulate(scenario: str, policy: str, seed: int = 1) -> requests.Outcome:
    return requests.Simulation(replace(REQUESTS[scenario], seconds=SHORT_S), policy, seed).run()


def p99(outcome: requests.Outcome) -> float:
    return percentile(outcome.latencies_ms, 0.99)


def test_a_seed_repeats_a_run_and_another_does_not() -> None:
    assert simulate("even", "two-choices") == simulate("even", "two-choices")
    assert simulate("even", "two-choices") != simulate("even", "two-choices", seed=2)


def test_ejection_keeps_a_server_that_fails_fast_from_drawing_everyone() -> None:
    bare, guarded = (simulate(name, "least-connections") for name in ("failing, no ejection", "failing"))
    assert guarded.errors / guarded.requests < 0.3 * bare.errors / bare.requests


def test_slow_start_spares_a_cold_newcomer() -> None:
    bare, guarded = (simulate(name, "round-robin") for name in ("joining, no slow start", "joining"))
    assert p99(guarded) < 0.5 * p99(bare)


def test_who_looks_at_load_bears_a_slow_server_and_who_does_not_drowns_it() -> None:
    assert p99(simulate("skewed", "prequal")) < 0.3 * p99(simulate("skewed", "weighted-round-robin"))


def test_old_news_makes_everyone_run_to_the_same_one() -> None:
    """Without probes thirty balancers hardly know of each other; then two choices beat the least of all."""
    assert p99(simulate("unprobed", "two-choices")) < p99(simulate("unprobed", "least-connections"))


@pytest.mark.parametrize(
    ("policy", "spread_max"), [("weighted-least-connections", 1.05), ("static-weights", 1.2)]
)
def test_sessions_spread_by_weight(policy: str, spread_max: float) -> None:
    scenario = SESSIONS["half-sized"]
    assert sessions.Simulation(scenario, policy, by_list=False, seed=1).run().spread < spread_max


def test_every_policy_and_scenario_has_its_place_in_the_tables_and_in_the_documentation() -> None:
    rows: list[Row] = [
        {"scenario": scenario, "policy": policy, "p50_ms": 1.0, "p99_ms": 2.0, "errors_percent": 0.5}
        for scenario in REQUESTS
        for policy in NAMES
    ]
    rows += [
        {"scenario": scenario, "policy": policy, "by": by, "spread": 1.5}
        for scenario in SESSIONS
        for by in ("choose", "rank")
        for policy in NAMES
    ]
    documented = (ROOT / "docs/balancing.md").read_text("utf-8")
    heads = [line for line in tables(rows).splitlines() if line.startswith("| policy")]
    assert len(heads) == 3
    for head in heads:
        assert head in documented
    for name in NAMES:
        assert documented.count(f"| {name} |") == len(heads), name
        assert f"**`{name}`**" in documented


@pytest.mark.parametrize("name", list(MOVING))
def test_a_node_that_joins_gets_its_share_in_time_and_nobody_is_moved_twice(name: str) -> None:
    scenario = MOVING[name]
    outcome = moving.Simulation(scenario, 1).run(121)
    needed = 1 - sum(scenario.weights[: -scenario.joining]) / sum(scenario.weights)
    if scenario.rule is not None:
        assert max(outcome.spread[120:]) <= 1.1
        assert outcome.moved <= needed
        assert outcome.moves_of_one_max == 1
    else:
        assert outcome.spread[120] > 1.2
