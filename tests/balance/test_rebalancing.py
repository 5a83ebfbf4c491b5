"""Evening out: who sheds how many, as fast as allowed, and never more than there is room for."""

from math import ceil

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.balance.guards import panic, slow_start
from posthouse.balance.rebalancing import (
    SLACK_SESSIONS,
    Pace,
    RebalanceRule,
    excess,
    plan,
    receiver,
    step,
)
from posthouse.balance.report import LoadReport, Snapshot, assign, snapshot_of
from tests.balance.strategies import NOW, UNIFORMS

RULE = RebalanceRule()
COUNTS = st.lists(st.integers(0, 2000), min_size=1, max_size=8)
WEIGHTS = st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=8, max_size=8)


def picture(*counts: int, weights: list[float] | None = None, at: float = NOW) -> Snapshot:
    sizes = weights or [1.0] * len(counts)
    reports = [
        LoadReport(f"n{n}", at=at, connections=count, weight=sizes[n]) for n, count in enumerate(counts)
    ]
    return snapshot_of(reports, at)


def test_a_node_that_joins_three_gets_from_each_what_exceeds_its_share() -> None:
    moved = {each.target: each.sessions for each in plan(picture(100, 100, 100, 0), RULE)}
    assert moved == {"n0": 22, "n1": 22, "n2": 22, "n3": 0}


def test_only_room_to_which_clients_can_be_sent_counts() -> None:
    full, near, far = picture(90, 0, 0).targets
    far = msgspec.structs.replace(far, addressed=False)
    half = Snapshot(NOW, (full, near, far))
    assert plan(half, RULE)[0].sessions > 0
    assert receiver(half, "n0", 0.99).target == "n1"
    nowhere = Snapshot(NOW, (full, msgspec.structs.replace(near, addressed=False), far))
    shed, pace = step(nowhere, "n0", Pace(), RULE)
    assert (shed.sessions, shed.stuck, pace.shedding) == (0, True, False)
    assert "where clients reach n1, n2 is not configured" in shed.why


def test_the_reason_says_how_far_from_its_share_a_node_is() -> None:
    heavy, light = plan(picture(150, 50), RULE)
    assert heavy.why == "n0 sheds: 150 sessions, 1.50 times the fair share of 100"
    assert light.why == "n1 keeps its sessions: 50 sessions, 0.50 times the fair share of 100"


@given(COUNTS, WEIGHTS)
def test_all_excesses_together_fit_into_the_room_that_others_have(
    counts: list[int], weights: list[float]
) -> None:
    snapshot = picture(*counts, weights=weights)
    moved = sum(each.sessions for each in plan(snapshot, RULE))
    total, size = sum(counts), sum(weights[: len(counts)])
    room = sum(
        max(0.0, total * weight / size - count) for count, weight in zip(counts, weights, strict=False)
    )
    assert moved <= room + 1e-6


@given(COUNTS, WEIGHTS, UNIFORMS)
def test_carrying_out_a_plan_leaves_nobody_far_above_its_share_and_overfills_nobody(
    counts: list[int], weights: list[float], uniform: float
) -> None:
    snapshot = picture(*counts, weights=weights)
    fair = {f"n{n}": sum(counts) * weights[n] / sum(weights[: len(counts)]) for n in range(len(counts))}
    for shed in plan(snapshot, RULE):
        for _ in range(shed.sessions):
            place = receiver(snapshot, shed.target, uniform).target
            assert place is not None
            snapshot = assign(assign(snapshot, shed.target, -1), place)
    for target in snapshot.targets:
        bound = max(RULE.above * fair[target.id], fair[target.id] + SLACK_SESSIONS)
        assert target.load.connections <= ceil(bound)


@given(st.integers(0, 5000), st.integers(0, 5000), st.lists(st.floats(0, 3), max_size=50))
def test_sessions_are_shed_no_faster_than_allowed(has: int, others: int, pauses: list[float]) -> None:
    """Of what it has, a share each second, and never more than the excess."""
    pace, now, shed_in_all, seconds = Pace(), NOW, 0, 0.0
    for pause_s in pauses:
        now += pause_s
        seconds += pause_s
        shed, pace = step(picture(has, others, at=now), "n0", pace, RULE)
        assert shed.sessions <= excess(picture(has, others), "n0", RULE, shedding=True).sessions
        shed_in_all += shed.sessions
    per_s = max(0.5, RULE.share_per_s * has)
    assert shed_in_all <= seconds * per_s + 1


def test_a_node_that_sheds_goes_on_until_it_is_close_to_its_share() -> None:
    """Between the two bounds nobody begins and nobody stops, so that chance moves nobody to and fro."""
    between = picture(106, 94)
    assert not step(between, "n0", Pace(5.0, NOW), RULE)[0].sessions
    assert step(between, "n0", Pace(5.0, NOW, shedding=True), RULE)[0].sessions


@pytest.mark.parametrize(("counts", "why"), [((300,), "no other node"), ((0, 0), "0 sessions")])
def test_where_nothing_can_be_evened_out_nothing_moves(counts: tuple[int, ...], why: str) -> None:
    shed = excess(picture(*counts), "n0", RULE)
    assert (shed.sessions, why in shed.why) == (0, True)


def test_what_cannot_be_divided_is_not_moved() -> None:
    assert not any(each.sessions for each in plan(picture(4, 3, 2), RULE))


def test_nothing_moves_while_the_others_are_not_known() -> None:
    reports = [LoadReport("a", at=NOW, connections=100), LoadReport("b", at=NOW - 60)]
    shed = excess(snapshot_of(reports, NOW), "a", RULE)
    assert (shed.sessions, shed.why) == (0, "a keeps its sessions: the sessions of b are not known")


def test_nothing_moves_in_panic() -> None:
    """Most are unhealthy, or the probes are wrong: not the time to make everyone reconnect."""
    reports = [LoadReport(f"n{n}", at=NOW, connections=10 * n, healthy=n == 3) for n in range(4)]
    shed = excess(panic(snapshot_of(reports, NOW)), "n3", RULE)
    assert (shed.sessions, "panic" in shed.why) == (0, True)


def test_a_node_that_drains_or_is_unhealthy_neither_gets_nor_sheds() -> None:
    reports = [
        LoadReport("a", at=NOW, connections=100),
        LoadReport("b", at=NOW, connections=100),
        LoadReport("c", at=NOW, connections=0, healthy=False),
        LoadReport("d", at=NOW, connections=900, weight=0.0),
    ]
    moved = {each.target: each.sessions for each in plan(snapshot_of(reports, NOW), RULE)}
    assert moved == {"a": 0, "b": 0, "c": 0, "d": 0}


def test_nothing_moves_while_a_node_sends_its_sessions_away() -> None:
    """They are about to land somewhere; and in a rolling restart the next one drains right after."""
    reports = [
        LoadReport("a", at=NOW, connections=100),
        LoadReport("b", at=NOW),
        LoadReport("c", at=NOW, connections=1, draining=True),
    ]
    shed = excess(snapshot_of(reports, NOW), "a", RULE)
    assert (shed.sessions, shed.why) == (0, "a keeps its sessions: c is still sending its sessions away")
    drained = [*reports[:2], LoadReport("c", at=NOW, draining=True)]
    assert excess(snapshot_of(drained, NOW), "a", RULE).sessions == 48


def test_a_newcomer_is_filled_as_its_slow_start_allows() -> None:
    reports = [LoadReport("a", at=NOW, connections=100), LoadReport("b", at=NOW, since=NOW - 15)]
    eager = RebalanceRule(share_per_s=1.0)
    for window_s, sessions in ((30.0, 25), (10.0, 48)):
        snapshot = slow_start(snapshot_of(reports, NOW), window_s)
        assert step(snapshot, "a", Pace(1000.0, NOW - 1), eager)[0].sessions == sessions
        assert excess(snapshot, "a", RULE).sessions == 48, "in the end"


def test_nodes_that_are_all_young_do_not_even_out_by_age() -> None:
    """A cluster that has just started is even when each has the same, not when the oldest has most."""
    reports = [LoadReport(f"n{n}", at=NOW, connections=50, since=NOW - 3 * n - 1) for n in range(3)]
    assert not any(each.sessions for each in plan(slow_start(snapshot_of(reports, NOW), 30.0), RULE))


@given(COUNTS, UNIFORMS)
def test_shed_sessions_go_only_where_there_is_room(counts: list[int], uniform: float) -> None:
    snapshot = picture(*counts)
    decision = receiver(snapshot, "n0", uniform)
    if decision.target is not None:
        has = next(each.load.connections for each in snapshot.targets if each.id == decision.target)
        assert has < sum(counts) / len(counts)
        assert decision.target != "n0"
