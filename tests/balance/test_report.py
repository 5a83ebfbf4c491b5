"""Reports become one snapshot: sorted, bounded, and average where nothing is known."""

from random import Random

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.balance.report import STALE_AFTER_S, WEIGHT_MAX, WEIGHT_MIN, LoadReport, assign, snapshot_of
from tests.balance.strategies import NOW, fleets


def report(target: str, at: float = NOW, **load: float) -> LoadReport:
    return msgspec.convert({"target": target, "at": at, **load}, LoadReport, strict=False)


@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_in_which_reports_come_decides_nothing(fleet: list[LoadReport], chance: Random) -> None:
    shuffled = fleet.copy()
    chance.shuffle(shuffled)
    assert snapshot_of(shuffled, NOW) == snapshot_of(fleet, NOW)


def test_of_two_reports_the_newer_counts() -> None:
    old, new = report("a", NOW - 1, connections=1), report("a", NOW, connections=2)
    for order in ([old, new], [new, old]):
        (target,) = snapshot_of(order, NOW).targets
        assert target.load.connections == 2


def test_a_report_is_fresh_up_to_its_age_limit() -> None:
    ages = {"edge": STALE_AFTER_S, "late": STALE_AFTER_S + 0.01}
    targets = snapshot_of([report(name, NOW - age) for name, age in ages.items()], NOW).targets
    assert {target.id: target.fresh for target in targets} == {"edge": True, "late": False}


def test_a_stale_report_counts_as_the_average_for_its_weight_and_keeps_who_it_is() -> None:
    fleet = [
        report("a", connections=100, in_flight=4, cpu=0.2, latency_ms=10, weight=1),
        report("b", connections=200, in_flight=8, cpu=0.4, latency_ms=30, weight=2),
        report("stale", NOW - 60, connections=9999, cpu=1, weight=2, since=7),
    ]
    stale = snapshot_of(fleet, NOW).targets[2]
    assert (stale.id, stale.weight, stale.age_s, stale.out) == ("stale", 2, NOW - 7, "")
    assert (stale.load.connections, stale.load.in_flight) == (200, 8)
    assert stale.load.cpu == pytest.approx(0.3)
    assert stale.load.latency_ms == 20


def test_those_that_take_no_work_and_unmeasured_latencies_are_left_out_of_the_average() -> None:
    fleet = [
        report("a", connections=100, latency_ms=10),
        report("b", connections=100),
        report("leaving", connections=1, latency_ms=500, draining=True),
        report("stale", NOW - 60),
    ]
    stale = snapshot_of(fleet, NOW).targets[3]
    assert (stale.load.connections, stale.load.latency_ms) == (100, 10)


def test_when_every_report_is_stale_nothing_is_known_of_anybody() -> None:
    """The cache was wiped: weights alone decide, and nobody is left out."""
    fleet = [report("a", NOW - 60, connections=5), report("b", NOW - 60, connections=500)]
    assert {target.load.connections for target in snapshot_of(fleet, NOW).candidates} == {0}
    assert len(snapshot_of(fleet, NOW).candidates) == 2


@pytest.mark.parametrize(("weight", "bounded"), [(1e9, WEIGHT_MAX), (1e-9, WEIGHT_MIN), (3, 3)])
def test_weights_are_bounded(weight: float, bounded: float) -> None:
    (target,) = snapshot_of([report("a", weight=weight)], NOW).targets
    assert target.weight == bounded


def test_weight_nought_takes_no_new_work() -> None:
    assert snapshot_of([report("a", weight=0)], NOW).targets[0].out == "draining"


@pytest.mark.parametrize(
    ("load", "utilisation"),
    [
        ({"cpu": 0.5, "network": 0.3}, 0.5),
        ({"cpu": 0.3, "network": 0.7}, 0.7),
        ({"cpu": 0.1, "loop_lag_ms": 50}, 0.5),
        ({"cpu": 0.3, "memory": 0.8}, 0.3),
        ({"cpu": 0.3, "memory": 1.0}, 1.0),
    ],
)
def test_the_scarcest_resource_says_how_full_a_target_is(load: dict[str, float], utilisation: float) -> None:
    (target,) = snapshot_of([report("a", **load)], NOW).targets
    assert target.utilisation == pytest.approx(utilisation)


def test_an_empty_snapshot_and_one_without_candidates_say_why() -> None:
    assert snapshot_of([], NOW).why_nobody == "nobody: there are no targets"
    fleet = [report("a", draining=True), report("b", healthy=False), report("c", draining=True)]
    expected = "nobody: none of 3 targets takes new work (2 draining, 1 unhealthy)"
    assert snapshot_of(fleet, NOW).why_nobody == expected


def test_what_was_assigned_since_counts_for_that_target_alone() -> None:
    before = snapshot_of([report("a", connections=5, in_flight=2), report("b")], NOW)
    after = assign(before, "a")
    assert (after.targets[0].load.connections, after.targets[0].load.in_flight) == (6, 3)
    assert after.targets[1] == before.targets[1]


def test_a_report_travels_as_json_and_nonsense_is_refused() -> None:
    sent = report("a", connections=5, cpu=0.25)
    assert msgspec.json.decode(msgspec.json.encode(sent), type=LoadReport) == sent
    for nonsense in (
        b'{"target":"a","cpu":-1}',
        b'{"target":"a","connections":-1}',
        b'{"target":"a","cpu":1e300}',
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(nonsense, type=LoadReport)
