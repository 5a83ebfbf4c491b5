"""Policies that learn: weights from work and cost, latency with errors counted as slow."""

from collections import Counter

import pytest
from msgspec.structs import replace

from posthouse.balance.adaptive import DynamicWeights, Prequal, Suspicions
from posthouse.balance.policy import RATIO_MAX
from posthouse.balance.report import LoadReport, snapshot_of
from tests.balance.strategies import NOW

GRID = [(n + 0.5) / 600 for n in range(600)]


def worker(target: str, work: float, cpu: float, errors: float = 0.0, since: float = 0.0) -> LoadReport:
    return LoadReport(target, at=NOW, deliveries_per_s=work, cpu=cpu, errors_per_s=errors, since=since)


def shares(*fleet: LoadReport) -> dict[str, float]:
    return DynamicWeights().rank(snapshot_of(fleet, NOW))


def test_the_weight_is_work_over_utilisation() -> None:
    """Both are half full, and one does twice the work."""
    assert shares(worker("fast", 200, 0.5), worker("slow", 100, 0.5)) == pytest.approx(
        {"fast": 2 / 3, "slow": 1 / 3}
    )


def test_errors_cost_as_much_as_utilisation() -> None:
    """One fifth of the answers are errors: as if it were utilised by 0.2 more, for the same good work."""
    ranking = shares(worker("sound", 80, 0.3), worker("failing", 80, 0.3, errors=20))
    assert ranking["sound"] / ranking["failing"] == pytest.approx((0.3 + 0.2) / 0.3)


@pytest.mark.parametrize(
    "unknown",
    [
        worker("x", 1, 0.5, since=NOW - 5),
        worker("x", 1, 0.01),
        LoadReport("x", at=NOW - 60, deliveries_per_s=1, cpu=0.9, since=0),
    ],
    ids=["newcomer", "idle", "stale"],
)
def test_who_has_shown_nothing_counts_as_the_mean(unknown: LoadReport) -> None:
    """And neither is trusted for its ratio nor keeps getting nothing because it got nothing."""
    ranking = shares(worker("a", 100, 0.5), worker("b", 300, 0.5), unknown)
    assert ranking["x"] == pytest.approx(1 / 3)


def test_while_nobody_has_shown_anything_the_configured_weights_count() -> None:
    fleet = [LoadReport("a", at=NOW, weight=1), LoadReport("b", at=NOW, weight=3)]
    assert shares(*fleet) == pytest.approx({"b": 0.75, "a": 0.25})


def test_who_only_fails_gets_the_least_but_not_nothing() -> None:
    ranking = shares(worker("a", 100, 0.5), worker("b", 100, 0.5), worker("failing", 0, 0.1, errors=100))
    assert ranking["failing"] == pytest.approx(1 / RATIO_MAX / (2 * 1.5 + 1 / RATIO_MAX))


def server(target: str, in_flight: int, latency_ms: float, errors: float = 0.0) -> LoadReport:
    return LoadReport(
        target,
        at=NOW,
        in_flight=in_flight,
        latency_ms=latency_ms,
        deliveries_per_s=100 - errors,
        errors_per_s=errors,
    )


def chosen(*fleet: LoadReport, state: Suspicions | None = None) -> Counter[str | None]:
    """How often each is chosen over evenly spaced random numbers."""
    on = snapshot_of(fleet, NOW)
    return Counter(Prequal().choose(on, state or {}, uniform)[0].target for uniform in GRID)


def test_the_lowest_latency_wins_among_two() -> None:
    assert chosen(server("a", 5, 20), server("b", 5, 10)) == {"b": len(GRID)}


def test_the_hot_are_left_out_however_fast_they_look() -> None:
    made = chosen(server("hot", 50, 1), server("a", 5, 20), server("b", 5, 20), server("c", 5, 30))
    assert made["hot"] == 0


def test_when_all_that_are_drawn_are_hot_the_least_in_flight_wins() -> None:
    """Only in a large fleet: here the hottest are the heaviest as well, so that they are the ones drawn."""
    light = [replace(server(f"light{n}", 0, 1), weight=0.01) for n in range(230)]
    heavy = [replace(server(f"{n}", 1000 + n, 99 - n), weight=100.0) for n in range(40)]
    on = snapshot_of([*light, *heavy], NOW)
    decisions = [Prequal().choose(on, {}, uniform)[0] for uniform in GRID[::20]]
    assert {each.reason.partition(", ")[2] for each in decisions} == {
        "the least of 16 drawn, which are all hot"
    }
    assert max(int(each.target or -1) for each in decisions) <= 40 - 16
    assert min(int(each.target or -1) for each in decisions) < 10


def test_not_everyone_sees_the_same_best_one() -> None:
    """The pool is one smaller than the fleet: who does not draw the best takes the next."""
    made = chosen(server("best", 5, 1), server("b", 5, 2), server("c", 5, 3), server("d", 5, 4))
    assert made["best"] == pytest.approx(len(GRID) * 3 / 4, rel=0.1)
    assert made["b"] == len(GRID) - made["best"]


def test_errors_count_as_slow() -> None:
    """Who fails at once has the lowest latency of all."""
    made = chosen(
        server("failing", 0, 0.5, errors=100), server("a", 5, 20), server("b", 5, 20), server("c", 5, 20)
    )
    assert made["failing"] == 0


def test_errors_are_remembered_when_a_shunned_target_reports_none_and_fade() -> None:
    """Without memory, whoever is shunned has no errors a second later, and everyone is sent there again."""
    prequal = Prequal()
    bad = snapshot_of([server("a", 5, 20), LoadReport("b", at=NOW, latency_ms=1, errors_per_s=9)], NOW)
    _, state = prequal.choose(bad, prequal.start(), 0.5)
    for seconds, expected in ((1, "a"), (10, "a"), (120, "b")):
        at = NOW + seconds
        fleet = [LoadReport("a", at=at, latency_ms=20), LoadReport("b", at=at, latency_ms=1)]
        decision, _ = prequal.choose(snapshot_of(fleet, at), state, 0.5)
        assert decision.target == expected, seconds


def test_what_was_seen_survives_an_absence_and_is_not_kept_for_ever() -> None:
    prequal = Prequal()
    bad = snapshot_of([server("a", 5, 20), server("b", 5, 1, errors=50)], NOW)
    _, state = prequal.choose(bad, prequal.start(), 0.5)
    _, state = prequal.choose(snapshot_of([LoadReport("a", at=NOW + 30)], NOW + 30), state, 0.5)
    assert set(state) == {"a", "b"}
    _, state = prequal.choose(snapshot_of([LoadReport("a", at=NOW + 300)], NOW + 300), state, 0.5)
    assert set(state) == {"a"}


def test_an_unmeasured_target_counts_as_the_mean() -> None:
    made = chosen(server("a", 5, 10), server("b", 5, 30), server("new", 5, 0), server("c", 5, 20))
    assert made["a"] > made["new"] + made["b"] + made["c"]
    ranking = Prequal().rank(snapshot_of([server("a", 5, 10), server("b", 5, 30), server("new", 5, 0)], NOW))
    assert list(ranking) == ["a", "new", "b"]
