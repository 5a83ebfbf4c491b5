"""The cluster as operators see and command it through this node."""

from collections.abc import Callable, Sequence

from posthouse.api.operating import Drained, Events, EventView, Move, Nodes, NodeStatus, Refused
from posthouse.app.balancing import Balancing
from posthouse.cluster.endpoints import others
from posthouse.cluster.events import Event, Events as Audit
from posthouse.cluster.snapshot import ClusterSnapshot, NodeView, Presence
from posthouse.messaging.notes import DrainNote, Note, RebalanceNote


class ClusterOperator:
    """Tells what the membership's picture says, and passes commands on to the nodes they are for over the bus."""

    def __init__(
        self,
        balancing: Balancing,
        picture: Callable[[], ClusterSnapshot],
        post: Callable[[Sequence[Note]], None],
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._balancing = balancing
        self._picture = picture
        self._post = post

    def nodes(self) -> Nodes:
        """Everybody, as this node sees them."""
        picture, shares = self._picture(), self._balancing.shares()
        found = tuple(_status(view, picture.at, shares.get(view.node, 0.0)) for view in picture.nodes)
        return Nodes(asked=self._balancing.node, known=picture.known, why=picture.why, nodes=found)

    def drain(self, node: str, within_s: float, undo: bool) -> Drained:
        """Tell a node to drain, or to serve again. Raises `Refused`, and `KeyError` for a node that nobody knows."""
        view = self._picture().get(node)
        if view is None:
            raise KeyError(node)
        sessions = view.report.load.connections
        if undo:
            reason = f"{node} serves again: an operator asked for it"
            self._post([DrainNote(node, 0.0, reason, undo=True)])
            return Drained(node=node, sessions=sessions, reason=reason)
        if view.presence is Presence.GONE:
            raise Refused(f"{node} is gone: {view.why}")
        if not others(self._picture(), node):
            raise Refused(f"no other node takes clients now, so those of {node} would have nowhere to go")
        reason = f"{node} sends its {sessions} sessions to other nodes within {within_s:g} s: an operator asked for it"
        self._post([DrainNote(node, within_s, reason)])
        return Drained(node=node, sessions=sessions, reason=reason)

    def rebalance(self, dry_run: bool) -> Sequence[Move]:
        """Tell all nodes to even out, unless it is only asked what they would do."""
        moves = [
            Move(node=each.target, sessions=each.sessions, reason=each.why) for each in self._balancing.plan()
        ]
        if not dry_run:
            self._post([RebalanceNote("an operator asked for it")])
        return moves

    def events(self, limit: int, kind: str, subject: str) -> Events:
        """From the ring in memory."""
        found = self._audit.latest(limit, kind=kind, subject=subject)
        return Events(asked=self._balancing.node, events=tuple(map(_view, found)))


def _view(event: Event) -> EventView:
    return EventView(**{name: getattr(event, name) for name in event.__struct_fields__})


def _status(view: NodeView, now: float, share: float) -> NodeStatus:
    report, load = view.report, view.report.load
    gone = view.presence is Presence.GONE
    return NodeStatus(
        node=view.node,
        presence=view.presence.value,
        why=view.why,
        silent_s=round(max(0.0, now - view.heard_at), 3),
        ready=report.ready and not gone,
        reason=report.reason,
        draining=report.draining,
        zone=report.zone,
        version=report.version,
        up_s=round(report.up_s, 1),
        sessions=0 if gone else load.connections,
        deliveries_per_s=round(load.deliveries_per_s, 1),
        errors_per_s=round(load.errors_per_s, 1),
        in_flight=load.in_flight,
        latency_ms=round(load.latency_ms, 1),
        cpu=round(load.cpu, 3),
        memory=round(load.memory, 3),
        network=round(load.network, 3),
        loop_lag_ms=round(load.loop_lag_ms, 1),
        weight=load.weight,
        share=round(share, 3),
        clients_url=report.clients_url,
        api_url=report.api_url,
        agent_port=report.agent_port,
    )
