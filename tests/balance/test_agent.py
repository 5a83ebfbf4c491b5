"""The agent-check's line: the weight that a node has shown, or that it takes no more."""

import pytest
from hypothesis import given

from posthouse.balance.agent import agent_answer, weight_percent
from posthouse.balance.report import LoadReport, snapshot_of
from tests.balance.strategies import NOW, fleets


def busy(name: str, cpu: float, deliveries: float = 1000.0, weight: float = 1.0) -> LoadReport:
    return LoadReport(name, at=NOW, cpu=cpu, deliveries_per_s=deliveries, weight=weight)


def test_the_node_that_does_most_for_its_cost_has_all_of_its_weight() -> None:
    snapshot = snapshot_of([busy("a", 0.2), busy("b", 0.4), busy("c", 0.8)], NOW)
    assert [weight_percent(snapshot, name) for name in "abc"] == [100, 50, 25]


def test_idle_nodes_count_by_their_configured_weight() -> None:
    snapshot = snapshot_of([busy("a", 0, 0, weight=2.0), busy("b", 0, 0)], NOW)
    assert [weight_percent(snapshot, name) for name in "ab"] == [100, 50]


def test_a_node_of_weight_0_takes_nobody_new() -> None:
    snapshot = snapshot_of([busy("a", 0.5, weight=0.0), busy("b", 0.5)], NOW)
    assert agent_answer(snapshot, "a", "serving").line == b"drain\n"
    assert agent_answer(snapshot, "b", "serving").line == b"ready up 100%\n"


@given(fleets())
def test_a_weight_is_never_nothing_which_would_mean_drain(reports: list[LoadReport]) -> None:
    snapshot = snapshot_of(reports, NOW)
    for target in snapshot.targets:
        assert 1 <= weight_percent(snapshot, target.id) <= 100


@pytest.mark.parametrize(
    ("standing", "line"), [("serving", b"ready up 100%\n"), ("draining", b"drain\n"), ("drained", b"maint\n")]
)
def test_the_line_says_what_haproxy_understands(standing: str, line: bytes) -> None:
    snapshot = snapshot_of([busy("a", 0.5)], NOW)
    answer = agent_answer(snapshot, "a", standing)  # type: ignore[arg-type]  # a parameter of the test
    assert answer.line == line
    assert answer.reason.startswith("a ")
