"""The director: where new sessions go, from reports and from what was handed out since."""

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from posthouse.balance.director import LANDING_S, Director
from posthouse.balance.guards import Guards
from posthouse.balance.named import NAMES, policy
from posthouse.balance.report import LoadReport
from tests.balance.strategies import NOW, UNIFORMS, fleets

GUARDS = Guards(slow_start_s=0.0)


def director(*reports: LoadReport, name: str = "least-connections", now: float = NOW) -> Director:
    made = Director(policy(name), GUARDS)
    made.see(reports, now)
    return made


def node(name: str, connections: int = 0, at: float = NOW, draining: bool = False) -> LoadReport:
    return LoadReport(name, at=at, connections=connections, draining=draining)


@given(fleets(), UNIFORMS, st.sampled_from(NAMES))
def test_a_list_is_never_empty_while_anybody_is_known(
    reports: list[LoadReport], uniform: float, name: str
) -> None:
    made = director(*reports, name=name)
    ranked = made.rank(uniform, NOW)
    assert {each.target for each in ranked} <= {report.target for report in reports}
    assert bool(ranked) == bool(reports)
    if ranked:
        assert sum(each.share for each in ranked) == pytest.approx(1)
        assert all(each.reason.startswith(each.target) for each in ranked)


@given(fleets(), UNIFORMS)
def test_a_list_names_draining_nodes_only_when_there_are_no_others(
    reports: list[LoadReport], uniform: float
) -> None:
    made = director(*reports)
    out = {report.target for report in reports if report.draining or report.weight <= 0}
    named = {each.target for each in made.rank(uniform, NOW)}
    assert not named & out or named == {report.target for report in reports} == out


def test_what_was_handed_out_since_the_last_report_counts() -> None:
    """Everyone would run to the emptiest otherwise, until the next report."""
    made = director(node("a", 10), node("b", 20), node("c", 30))
    landed = Counter(made.choose(0.0, NOW).target for _ in range(30))
    assert landed == {"a": 20, "b": 10}


def test_what_was_handed_out_counts_until_a_report_can_have_seen_it() -> None:
    made = director(node("a"), node("b", 1))
    assert made.choose(0.0, NOW).target == "a"
    made.see([node("a", at=NOW + 1), node("b", 1, at=NOW + 1)], NOW + 1)
    assert [target.load.connections for target in made.snapshot.targets] == [1, 1]
    later = NOW + LANDING_S
    made.see([node("a", 1, at=later), node("b", 1, at=later)], later)
    assert [target.load.connections for target in made.snapshot.targets] == [1, 1]


def test_what_was_handed_out_is_forgotten_when_no_report_ever_comes() -> None:
    made = director(node("a"), node("b", 1))
    made.hand("a", NOW)
    made.see([node("a"), node("b", 1)], NOW + GUARDS.stale_after_s + 1)
    assert {target.load.connections for target in made.snapshot.targets} == {0}


def test_lists_spread_whether_clients_take_the_first_or_draw_by_weight() -> None:
    made = director(node("a"), node("b"), node("c"), name="two-choices")
    first: Counter[str] = Counter()
    drawn: Counter[str] = Counter()
    for number in range(300):
        ranked = made.rank((number * 0.618) % 1, NOW)
        first[ranked[0].target] += 1
        for each in ranked:
            drawn[each.target] += each.share  # type: ignore[assignment]  # a sum of shares
    assert max(first.values()) <= 1.05 * 100
    assert max(drawn.values()) <= 1.05 * 100


def test_nodes_that_are_left_out_are_not_chosen() -> None:
    made = director(node("a"), node("b", 5), node("c", 9))
    assert made.choose(0.0, NOW, without={"a"}).target == "b"
    nobody = made.choose(0.0, NOW, without={"a", "b", "c"})
    assert (nobody.target, nobody.reason) == (None, "nobody: there are no targets")


def test_nodes_that_drain_together_do_not_feed_each_other() -> None:
    made = director(node("a", draining=True), node("b", draining=True), node("c", 1000))
    assert {made.choose(n / 10, NOW).target for n in range(10)} == {"c"}
