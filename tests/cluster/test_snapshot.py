"""The picture of the cluster: who is there, who is in doubt, who has gone, and one sentence of why."""

import msgspec
import pytest

from posthouse.balance.report import LoadReport
from posthouse.cache.base import NodeRecord
from posthouse.cluster.snapshot import (
    GONE_KEPT_S,
    NOBODY,
    TTL_S,
    NodeReport,
    Presence,
    changes,
    encode_report,
    snapshot_of,
    unread,
)


def record(node: str, silent_s: float = 0.2, incarnation: int = 1, **said: object) -> NodeRecord:
    report = NodeReport(node=node, incarnation=incarnation, load=LoadReport(node), **said)  # type: ignore[arg-type]
    return NodeRecord(node, incarnation, silent_s, encode_report(report))


def test_everybody_in_the_register_is_there() -> None:
    """Nodes that announce themselves are live and told, in the order of their names."""
    seen = snapshot_of(NOBODY, [record("b"), record("a")], now=10.0)
    assert seen.known
    assert seen.gateways == ("a", "b")
    assert [view.presence for view in seen.nodes] == [Presence.LIVE, Presence.LIVE]


def test_a_node_in_doubt_is_still_told() -> None:
    """Two missed announcements are no proof of death."""
    seen = snapshot_of(NOBODY, [record("a", silent_s=2.5)], now=10.0)
    assert seen.nodes[0].presence is Presence.SILENT
    assert seen.gateways == ("a",)


def test_a_wiped_register_takes_nobody_away_at_once() -> None:
    """Whoever was heard a moment ago stays in doubt until it has had the time to announce itself again."""
    before = snapshot_of(NOBODY, [record("a"), record("b")], now=10.0)
    wiped = snapshot_of(before, [record("a")], now=11.0)
    assert wiped.gateways == ("a", "b")
    back = snapshot_of(wiped, [record("a", up_s=2.0), record("b", up_s=2.0)], now=12.0)
    assert [view.presence for view in back.nodes] == [Presence.LIVE, Presence.LIVE]


def test_a_node_that_stays_silent_is_gone() -> None:
    """After its time to live nobody tells it anything, and later nobody speaks of it."""
    before = snapshot_of(NOBODY, [record("a"), record("b")], now=10.0)
    after = snapshot_of(before, [record("a")], now=10.0 + TTL_S)
    assert after.gateways == ("a",)
    gone = after.get("b")
    assert gone is not None
    assert gone.presence is Presence.GONE
    assert snapshot_of(after, [record("a")], now=10.0 + GONE_KEPT_S).get("b") is None


def test_a_node_that_said_goodbye_is_gone_at_once() -> None:
    """A node that stops says so in its last report."""
    before = snapshot_of(NOBODY, [record("a")], now=10.0)
    assert snapshot_of(before, [record("a", up_s=1.0, leaving=True)], now=10.1).gateways == ()


def test_a_cache_that_cannot_say_changes_nothing() -> None:
    """Nothing is known, however long that lasts: the nodes that were there are still told."""
    before = snapshot_of(NOBODY, [record("a"), record("b")], now=10.0)
    blind = unread(before, "it does not answer", now=1_000.0)
    assert not blind.known
    assert blind.gateways == ("a", "b")
    assert "does not answer" in blind.why
    sighted = snapshot_of(blind, [record("a", up_s=990.0)], now=1_001.0)
    assert sighted.gateways == ("a",)


def test_a_register_that_went_back_in_time_is_not_believed() -> None:
    """A restored cache shows an older incarnation, or an earlier report: what was known stays."""
    before = snapshot_of(NOBODY, [record("a", incarnation=7, up_s=5.0)], now=10.0)
    older = snapshot_of(before, [record("a", incarnation=6, up_s=90.0)], now=11.0)
    view = older.get("a")
    assert view is not None
    assert (view.report.incarnation, view.presence) == (7, Presence.SILENT)


def test_a_newer_nodes_fields_are_passed_over() -> None:
    """Version N + 1 may say more: what is known of it is read."""
    said = msgspec.json.decode(record("a").report) | {"colour": "blue"}
    newer = NodeRecord("a", 1, 0.1, msgspec.json.encode(said))
    assert snapshot_of(NOBODY, [newer], now=1.0).gateways == ("a",)


DEEP = b'{"x":' + b"[" * 100_000


@pytest.mark.parametrize(
    "nonsense", [b"", b"[]", b"{}", b"\xff", b'{"node":"\xff"}', DEEP, record("other").report]
)
def test_nonsense_in_the_register_is_nobody(nonsense: bytes) -> None:
    """A record that cannot be read harms nobody else's."""
    seen = snapshot_of(NOBODY, [NodeRecord("a", 1, 0.1, nonsense), record("b")], now=1.0)
    assert seen.gateways == ("b",)


def test_loads_are_stamped_with_the_readers_clock() -> None:
    """A report tells how long a node has served; when that began is the reader's to say."""
    told = record("a", silent_s=0.5, up_s=4.0, ready=False, reason="the database is away")
    (load,) = snapshot_of(NOBODY, [told], now=100.0).loads
    assert (load.target, load.at, load.since, load.healthy) == ("a", 99.5, 95.5, False)


def test_what_changed_is_told_once() -> None:
    """Coming, going, readiness and a blind register each give one sentence; no change gives none."""
    first = snapshot_of(NOBODY, [record("a"), record("b")], now=10.0)
    came = [("a", "a is live: it announces itself"), ("b", "b is live: it announces itself")]
    assert changes(NOBODY, first)[1:] == came
    assert changes(first, snapshot_of(first, [record("a"), record("b")], now=10.5)) == []
    later = snapshot_of(first, [record("b", up_s=9.0, draining=True)], now=20.0)
    (_, gone), (_, draining) = changes(first, later)
    assert gone.startswith("a is gone: it is no longer in the register")
    assert draining.endswith("and it is draining")
