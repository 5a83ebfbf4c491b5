"""Guards: slow start, ejection within its bounds, panic; and that nobody draining is ever let back in."""

import pytest
from hypothesis import given, strategies as st

from posthouse.balance.guards import EjectionRule, Ejections, Guards, eject, guarded, panic, slow_start
from posthouse.balance.report import LoadReport, Snapshot, snapshot_of
from tests.balance.strategies import NOW, fleets

RULE = EjectionRule()
NOBODY: Ejections = {}


def failing(target: str, errors: float, at: float = NOW) -> LoadReport:
    return LoadReport(target, at=at, deliveries_per_s=100 - errors, errors_per_s=errors)


def fleet_of(count: int, bad: int = 0, at: float = NOW, errors: float = 90) -> list[LoadReport]:
    return [failing(f"t{n:02}", errors if n < bad else 0, at) for n in range(count)]


def ejected(snapshot: Snapshot) -> list[str]:
    return [target.id for target in snapshot.targets if target.out == "ejected"]


# Slow start


@pytest.mark.parametrize(("age", "factor"), [(0, 0.1), (2, 0.1), (15, 0.5), (30, 1.0), (500, 1.0)])
def test_a_newcomers_weight_grows_from_a_tenth_to_all(age: float, factor: float) -> None:
    snapshot = snapshot_of([LoadReport("new", at=NOW, since=NOW - age), LoadReport("old", at=NOW)], NOW)
    assert [target.factor for target in slow_start(snapshot, 30).targets] == [factor, 1.0]


def test_where_all_are_young_nobody_is_a_newcomer() -> None:
    """Otherwise the first of a cluster to start would get most."""
    reports = [LoadReport(name, at=NOW, since=NOW - age) for name, age in (("a", 20), ("b", 1))]
    assert [target.factor for target in slow_start(snapshot_of(reports, NOW), 30).targets] == [1.0, 1.0]


def test_without_a_window_there_is_no_slow_start() -> None:
    snapshot = snapshot_of([LoadReport("new", at=NOW, since=NOW)], NOW)
    assert slow_start(snapshot, 0).targets[0].factor == 1.0


# Panic


@pytest.mark.parametrize(
    ("healthy", "count", "panics"), [(1, 2, False), (2, 4, False), (1, 4, True), (0, 1, True)]
)
def test_health_is_ignored_below_half_and_not_at_half(healthy: int, count: int, panics: bool) -> None:
    fleet = [LoadReport(f"t{n}", at=NOW, healthy=n < healthy) for n in range(count)]
    snapshot = panic(snapshot_of(fleet, NOW))
    assert len(snapshot.candidates) == (count if panics else healthy)
    assert bool(snapshot.panic) == panics


def test_panic_says_why() -> None:
    fleet = [LoadReport(f"t{n}", at=NOW, healthy=n < 1) for n in range(4)]
    assert panic(snapshot_of(fleet, NOW)).panic == "panic: 1 of 4 healthy, so health is ignored"


@given(fleets())
def test_whoever_is_draining_stays_out_even_in_panic(fleet: list[LoadReport]) -> None:
    snapshot, _ = guarded(fleet, NOW, {}, Guards(panic_below=1.0))
    leaving = {report.target for report in fleet if report.draining or not report.weight}
    assert not leaving & {target.id for target in snapshot.candidates}


@given(fleets())
def test_the_unhealthy_and_the_ejected_are_chosen_from_in_panic_only(fleet: list[LoadReport]) -> None:
    snapshot, ejections = guarded(fleet, NOW, {}, Guards())
    doubtful = {report.target for report in fleet if not report.healthy} | set(ejections)
    if not snapshot.panic:
        assert not doubtful & {target.id for target in snapshot.candidates}


# Ejection


@pytest.mark.parametrize(("targets", "most"), [(1, 0), (4, 0), (5, 1), (10, 1), (19, 1), (20, 2), (100, 10)])
def test_nobody_below_five_one_from_five_on_and_a_tenth_of_many(targets: int, most: int) -> None:
    assert RULE.ejected_max(targets) == most
    snapshot, _ = eject(snapshot_of(fleet_of(targets, bad=targets // 3), NOW), {}, RULE)
    assert len(ejected(snapshot)) <= most


def test_the_worst_goes_first_and_the_reason_is_told() -> None:
    fleet = [*fleet_of(3), failing("bad", 60), failing("worse", 80)]
    snapshot, ejections = eject(snapshot_of(fleet, NOW), {}, RULE)
    assert ejected(snapshot) == ["worse"]
    assert ejections["worse"].why == "ejected: 80% of its answers are errors, the median is 0%"


def test_errors_that_all_have_are_nobodys_fault() -> None:
    snapshot, ejections = eject(snapshot_of(fleet_of(6, bad=6), NOW), {}, RULE)
    assert (ejected(snapshot), ejections) == ([], {})


def test_a_target_within_the_margin_and_one_with_hardly_any_answers_stay() -> None:
    quiet = LoadReport("quiet", at=NOW, errors_per_s=0.5)
    fleet = [*fleet_of(5), failing("wobbly", 20), quiet]
    assert ejected(eject(snapshot_of(fleet, NOW), {}, RULE)[0]) == []


def test_a_stale_report_ejects_nobody() -> None:
    """Neither for what it said last, nor for the average of which one busy target is most."""
    busy = LoadReport("busy", at=NOW, errors_per_s=1e5)
    fleet = [*fleet_of(20), failing("silent", 100, at=NOW - 60), busy]
    assert ejected(eject(snapshot_of(fleet, NOW), {}, RULE)[0]) == ["busy"]


def run(ejections: Ejections, at: float, bad: bool) -> tuple[bool, Ejections]:
    """One look at five targets, of which the first fails or not; whether it is out."""
    snapshot, ejections = eject(snapshot_of(fleet_of(5, bad=int(bad), at=at), at), ejections, RULE)
    return bool(ejected(snapshot)), ejections


def test_each_further_ejection_lasts_a_base_period_longer() -> None:
    """30 s, then 60 s, then 90 s; sound reports while it is out (it gets no work) do not let it back."""
    at, state = NOW, NOBODY
    for times in (1, 2, 3):
        out, state = run(state, at, bad=True)
        assert out
        out, state = run(state, at + 30 * times - 1, bad=False)
        assert out
        at += 30 * times
        out, state = run(state, at, bad=False)
        assert not out


def test_an_ejection_lasts_five_minutes_at_most() -> None:
    at, state = NOW, NOBODY
    for _ in range(20):
        _, state = run(state, at, bad=True)
        (ejection,) = state.values()
        assert ejection.until - at <= RULE.longest_s
        at = ejection.until


def test_good_standing_is_rewarded_period_by_period_until_all_is_forgotten() -> None:
    _, state = run({}, NOW, bad=True)
    _, state = run(state, NOW + 30, bad=True)  # a second time, until NOW + 90
    _, later = run(state, NOW + 90 + 30, bad=True)
    assert later["t00"].times == 2, "one of the two is forgotten, and this is one more"
    _, later = run(state, NOW + 90 + 60, bad=False)
    assert later == {}


Steps = list[tuple[float, list[LoadReport]]]


@given(st.lists(st.tuples(st.floats(0, 120), fleets(24)), max_size=8))
def test_never_more_are_out_than_the_rule_allows(steps: Steps) -> None:
    """Whatever fails, comes and goes, in whatever order."""
    now, state = NOW, NOBODY
    for passed, fleet in steps:
        now += passed
        snapshot, state = eject(snapshot_of(fleet, now, stale_after_s=1e6), state, RULE)
        hosts = [target for target in snapshot.targets if target.out != "draining"]
        assert len(ejected(snapshot)) <= RULE.ejected_max(len(hosts))


def test_when_the_fleet_shrinks_those_too_many_are_let_back() -> None:
    snapshot, state = eject(snapshot_of(fleet_of(20, bad=2), NOW), {}, RULE)
    assert ejected(snapshot) == ["t00", "t01"]
    snapshot, state = eject(snapshot_of(fleet_of(10), NOW), state, RULE)
    assert ejected(snapshot) == ["t00"]
    snapshot, _ = eject(snapshot_of(fleet_of(4), NOW), state, RULE)
    assert ejected(snapshot) == []
