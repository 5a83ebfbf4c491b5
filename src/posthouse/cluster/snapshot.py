"""What the nodes say of themselves, and the one immutable picture of all of them that decisions are made on. Pure.

Times are seconds of the reader's own monotonic clock: two machines' clocks cannot be compared, so a report tells
durations and whoever reads it stamps it. "The cache cannot say" is not "nobody is there": then the picture stays.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec
from msgspec.structs import replace

from posthouse.balance.report import LoadReport
from posthouse.cache.base import NodeRecord
from posthouse.health.report import HealthReport
from posthouse.kit.malformed import MALFORMED

TTL_S = 3.5
"""A node that has not been heard for so long is gone."""
SILENT_AFTER_S = 2.0
"""A node announces itself each second; one that has missed two is in doubt, and still told everything."""
GONE_KEPT_S = 60.0
"""How long a picture still shows who has gone."""


class NodeReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node says of itself each second. Fields that only a newer node knows are passed over.

    `incarnation` rises with each start of a process under this name. `clients_url` is where clients open WebSockets
    (empty: not said), `api_url` where its REST API answers, `agent_port` where HAProxy's agent-check does (0: nowhere).
    `up_s` is how long it has served; `ready` and `reason` are its own verdict. `draining`: it sends its clients away.
    `leaving`: this is its last report.
    """

    node: str
    incarnation: int
    version: str = ""
    protocol: int = 1
    schema: int = 0
    started_ms: int = 0
    up_s: float = 0.0
    clients_url: str = ""
    api_url: str = ""
    zone: str = ""
    agent_port: int = 0
    load: LoadReport
    ready: bool = True
    reason: str = ""
    draining: bool = False
    leaving: bool = False
    health: HealthReport = HealthReport()


class Presence(Enum):
    """What is known of whether a node lives."""

    LIVE = "live"
    SILENT = "silent"
    GONE = "gone"


class NodeView(msgspec.Struct, frozen=True):
    """One node as it is seen: its last report, and `heard_at`, when that was said."""

    report: NodeReport
    heard_at: float
    presence: Presence
    why: str

    @property
    def node(self) -> str:
        """Its name, by which the bus reaches its gateway."""
        return self.report.node

    @property
    def takes_clients(self) -> bool:
        """True when new clients may be sent there."""
        return self.presence is Presence.LIVE and self.report.ready and not self.report.draining


class ClusterSnapshot(msgspec.Struct, frozen=True):
    """All nodes at the moment `at`, by name. `known` is false while the cache cannot say: the nodes are those that were
    there before, since there is nothing better to go by, and `why` says so in one sentence."""

    at: float
    known: bool
    nodes: tuple[NodeView, ...]
    why: str

    @property
    def present(self) -> tuple[NodeView, ...]:
        """Everybody who is not known to be gone."""
        return tuple(view for view in self.nodes if view.presence is not Presence.GONE)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The names of those who must be told: also of nodes in doubt."""
        return tuple(view.node for view in self.present)

    @property
    def loads(self) -> tuple[LoadReport, ...]:
        """The load of everybody present, as balancing policies want it: stamped with this reader's clock."""
        return tuple(_load(view) for view in self.present)

    def get(self, node: str) -> NodeView | None:
        """One node by name, also one that has gone."""
        return next((view for view in self.nodes if view.node == node), None)


NOBODY = ClusterSnapshot(0.0, False, (), "the register of nodes was not read yet")

_decode = msgspec.json.Decoder(NodeReport).decode


def encode_report(report: NodeReport) -> bytes:
    """What the register keeps."""
    return msgspec.json.encode(report)


def snapshot_of(before: ClusterSnapshot, records: Sequence[NodeRecord], now: float) -> ClusterSnapshot:
    """The picture after the register was read.

    Who is missing in it was forgotten by the cache, which may have been wiped: such a node is in doubt until it has
    been silent for `TTL_S`. A record that cannot be read counts as one that is missing.
    """
    views = {view.node: view for view in before.nodes}
    read = {report.node: (report, record.silent_s) for record in records if (report := _report(record))}
    for node, (report, silent_s) in read.items():
        views[node] = _heard(views.get(node), report, now - silent_s, now)
    for node in views.keys() - read.keys():
        views[node] = _missing(views[node], now)
    return _picture(now, views)


def unread(before: ClusterSnapshot, reason: str, now: float) -> ClusterSnapshot:
    """The picture when the register cannot be read: nothing is known, so nothing changes."""
    return replace(before, at=now, known=False, why=f"the register of nodes cannot be read: {reason}")


def changes(before: ClusterSnapshot, after: ClusterSnapshot) -> list[tuple[str, str]]:
    """What happened between two pictures: to which node (empty: to the picture as a whole), and one sentence."""
    told = [] if before.known == after.known else [("", after.why)]
    for view in after.nodes:
        earlier = before.get(view.node)
        if earlier is None or _standing(earlier) != _standing(view):
            told.append((view.node, _sentence(view)))
    return told


def _picture(now: float, views: Mapping[str, NodeView]) -> ClusterSnapshot:
    kept = tuple(view for _, view in sorted(views.items()) if _is_kept(view, now))
    present = [view for view in kept if view.presence is not Presence.GONE]
    return ClusterSnapshot(now, True, kept, f"{len(present)} of {len(kept)} nodes are there")


def _heard(before: NodeView | None, report: NodeReport, heard_at: float, now: float) -> NodeView:
    """A cache that was restored may go back in time: an older report than the one known is passed over."""
    if before is not None and before.presence is not Presence.GONE and _age(report) < _age(before.report):
        return _missing(before, now)
    silent_s = now - heard_at
    if report.leaving:
        return NodeView(report, heard_at, Presence.GONE, "it has stopped")
    if silent_s >= TTL_S:
        return NodeView(report, heard_at, Presence.GONE, f"it has been silent for {silent_s:.1f} s")
    if silent_s > SILENT_AFTER_S:
        return NodeView(report, heard_at, Presence.SILENT, f"it has been silent for {silent_s:.1f} s")
    return NodeView(report, heard_at, Presence.LIVE, "it announces itself")


def _missing(before: NodeView, now: float) -> NodeView:
    if before.presence is Presence.GONE:
        return before
    silent_s = now - before.heard_at
    if silent_s >= TTL_S:
        why = f"it is no longer in the register, and was heard {silent_s:.1f} s ago"
        return replace(before, presence=Presence.GONE, why=why)
    why = f"the register has lost it, and it was heard {silent_s:.1f} s ago"
    return replace(before, presence=Presence.SILENT, why=why)


def _report(record: NodeRecord) -> NodeReport | None:
    try:
        report = _decode(record.report)
    except MALFORMED:
        return None
    return report if report.node == record.node else None


def _load(view: NodeView) -> LoadReport:
    report = view.report
    return replace(
        report.load,
        target=report.node,
        at=view.heard_at,
        since=view.heard_at - report.up_s,
        healthy=report.load.healthy and report.ready,
        draining=report.load.draining or report.draining,
    )


def _age(report: NodeReport) -> tuple[int, float]:
    return report.incarnation, report.up_s


def _is_kept(view: NodeView, now: float) -> bool:
    return view.presence is not Presence.GONE or now - view.heard_at < GONE_KEPT_S


def _standing(view: NodeView) -> tuple[Presence, int, bool, bool]:
    return view.presence, view.report.incarnation, view.report.ready, view.report.draining


def _sentence(view: NodeView) -> str:
    said = f"{view.node} is {view.presence.value}: {view.why}"
    if view.presence is Presence.GONE:
        return said
    if view.report.draining:
        return f"{said}, and it is draining"
    return said if view.report.ready else f"{said}, and it is not ready: {view.report.reason}"
