"""Readiness: every verdict with its reason, and relative to what the other nodes find."""

import pytest

from posthouse.health.readiness import ALONE_AFTER_S, STARTING, Part, judge
from posthouse.health.report import FAILED, OK, READ_ONLY, SLOW, HealthReport, Peer

WELL = Part("database main", OK, "the database answers")
LONG = ALONE_AFTER_S
GONE = Part("database main", FAILED, "the database does not answer: gone", LONG)
FULL = Part("database main", READ_ONLY, "the database takes no writes; reads are served: disk full")
MUTE = Part("canary", FAILED, "the canary's message was not delivered within 5 s", LONG)


def peer(node: str, *, fresh: bool = True, draining: bool = False, **said: object) -> Peer:
    """A peer whose report says that."""
    return Peer(node, f"http://{node}", HealthReport(**said), fresh, draining)  # type: ignore[arg-type]


def finding(main: str, *names: str) -> list[Peer]:
    """Peers that find the database like that."""
    return [peer(name, databases={"main": main}) for name in names]


@pytest.mark.parametrize(
    ("parts", "ready", "reason"),
    [
        ([WELL], True, "the database answers and commits"),
        ([WELL, Part("database b", OK, "")], True, "the databases answer and commit"),
        ([GONE], False, "the database does not answer: gone"),
        ([FULL], False, "the database takes no writes; reads are served: disk full"),
        ([WELL, MUTE], False, "the canary's message was not delivered within 5 s"),
        ([], False, "the node is starting"),
    ],
)
def test_a_node_by_itself_is_judged_by_what_it_can_do(parts: list[Part], ready: bool, reason: str) -> None:
    assert judge("n1", parts)[:2] == (ready, reason)


def test_a_node_that_drains_is_not_ready_however_well_it_is() -> None:
    assert judge("n1", [WELL], draining=True)[:2] == (False, "the node is draining")


def test_a_node_that_has_probed_nothing_is_starting() -> None:
    assert judge("n1", []) == STARTING


def test_a_database_that_nobody_reaches_takes_no_node_out() -> None:
    found = judge("n1", [GONE], finding(FAILED, "n2", "n3"))
    assert found[:3] == (True, "ready, but degraded: the database does not answer: gone", True)


def test_a_node_that_alone_cannot_reach_a_database_is_taken_out() -> None:
    found = judge("n1", [GONE], finding(OK, "n2", "n3"))
    assert found[:2] == (False, "the database does not answer: gone, unlike on n2, n3")


@pytest.mark.parametrize("fault", [GONE, MUTE])
def test_nobody_is_taken_out_before_the_others_can_have_seen_the_same(fault: Part) -> None:
    """Of two nodes that lose one database, each is the first for a moment, or sees the other's report of before."""
    early = fault._replace(failed_s=ALONE_AFTER_S - 0.1)
    better = [peer("n2", databases={"main": OK}, canary=OK)]
    assert judge("n1", [early] if fault is GONE else [WELL, early], better).degraded
    assert not judge("n1", [fault] if fault is GONE else [WELL, fault], better).ready
    assert not judge("n1", [early] if fault is GONE else [WELL, early]).ready, (
        "a node alone has nobody to wait for"
    )


def test_it_is_enough_that_one_peer_fares_better() -> None:
    assert not judge("n1", [GONE], [*finding(OK, "n2"), *finding(FAILED, "n3")]).ready
    assert not judge("n1", [GONE], [*finding(SLOW, "n2"), *finding(FAILED, "n3")]).ready


def test_one_database_of_two_takes_no_lone_node_out() -> None:
    found = judge("n1", [GONE, Part("database b", OK, "the database b answers")])
    assert (found.ready, found.degraded) == (True, True)


def test_all_databases_of_a_lone_node_do() -> None:
    assert not judge("n1", [GONE, Part("database b", FAILED, "the database b does not answer")]).ready


@pytest.mark.parametrize("gone", [{"fresh": False}, {"draining": True}])
def test_peers_that_are_silent_or_drain_do_not_count(gone: dict[str, bool]) -> None:
    """Their word is old, or of a node that is being stopped, perhaps for that very reason."""
    silent = peer("n2", databases={"main": FAILED}, **gone)
    assert not judge("n1", [GONE], [silent]).ready


def test_a_node_is_not_its_own_peer() -> None:
    assert not judge("n1", [GONE], finding(FAILED, "n1")).ready


def test_peers_that_do_not_know_the_database_decide_nothing() -> None:
    assert not judge("n1", [GONE], [peer("n2")]).ready


@pytest.mark.parametrize("kind", ["cache", "bus", "replica main/b:5432"])
def test_what_has_a_slower_path_around_it_takes_no_node_out(kind: str) -> None:
    found = judge("n1", [WELL, Part(kind, FAILED, "it is gone")], [peer("n2", cache=OK, bus=OK)])
    assert found[:3] == (True, "ready, but degraded: it is gone", True)


def test_a_node_that_alone_cannot_deliver_is_taken_out() -> None:
    found = judge("n1", [WELL, MUTE], [peer("n2", canary=OK), peer("n3", canary=FAILED)])
    assert not found.ready
    assert found.reason.endswith("unlike on n2")


def test_when_nobody_can_deliver_all_stay() -> None:
    assert judge("n1", [WELL, MUTE], [peer("n2", canary=FAILED)]).degraded


def test_a_canary_that_fails_with_its_database_says_nothing_about_the_node() -> None:
    assert judge("n1", [GONE, MUTE], finding(FAILED, "n2")).ready


def test_a_lagging_node_is_taken_out_unless_all_lag() -> None:
    late = Part("loop", FAILED, "the event loop has been 1200 ms late for 3 s", LONG)
    assert not judge("n1", [WELL, late]).ready
    assert not judge("n1", [WELL, late], [peer("n2")]).ready
    assert judge("n1", [WELL, late], [peer("n2", lagging=True)]).degraded


def test_a_node_that_no_prober_reaches_is_taken_out_but_not_on_the_word_of_one() -> None:
    def said(*states: str) -> list[Peer]:
        return [peer(f"p{number}", peers={"n1": state}) for number, state in enumerate(states)]

    well = peer("p9", peers={"p0": "live"})
    assert judge("n1", [WELL], [*said("dead", "dead"), well])[:2] == (
        False, "p0 and p1 cannot reach this node",
    )  # fmt: skip
    assert judge("n1", [WELL], [*said("dead"), well]).ready
    assert judge("n1", [WELL], [*said("dead", "dead", "live"), well]).ready


def test_where_no_node_reaches_any_other_all_stay() -> None:
    """Their addresses may be for clients outside only."""
    deaf = [peer(name, peers={"n1": "dead", "n2": "dead", "n3": "dead"}) for name in ("n2", "n3")]
    found = judge("n1", [WELL], deaf)
    assert (found.ready, found.degraded) == (True, True)


def test_what_is_slow_is_said() -> None:
    slow = Part("database main", SLOW, "the database is slow: it answers, but takes 1200 ms; 1000 are slow")
    assert judge("n1", [slow]).reason == f"ready, but degraded: {slow.reason}"


def test_the_parts_are_told_with_the_verdict() -> None:
    assert [part.name for part in judge("n1", [WELL, MUTE]).parts] == ["database main", "canary"]
