"""From the cluster's picture to what balancing decides on, and from a decision back to an address. Pure."""

from msgspec.structs import replace

from posthouse.balance.report import LoadReport
from posthouse.cluster.snapshot import ClusterSnapshot, NodeView, Presence

SOCKET_PATH = "/v1/ws"


def loads(snapshot: ClusterSnapshot) -> tuple[LoadReport, ...]:
    """The load of everybody who may get new clients. A node in doubt counts as unhealthy: it gets none for now, unless
    most are in doubt, as when the cache was wiped: then it is the picture that is doubted."""
    silent = {view.node for view in snapshot.present if view.presence is Presence.SILENT}
    return tuple(replace(load, healthy=False) if load.target in silent else load for load in snapshot.loads)


def socket_url(url: str) -> str:
    """Where clients open WebSockets, from a node's or a balancer's URL; empty stays empty."""
    return f"{url.rstrip('/').replace('http', 'ws', 1)}{SOCKET_PATH}" if url else ""


def endpoint(snapshot: ClusterSnapshot, node: str | None) -> str:
    """A node's WebSocket URL; empty when there is no such node, or it has not said where it is reached."""
    view = snapshot.get(node) if node is not None else None
    return socket_url(view.report.clients_url) if view is not None else ""


def others(snapshot: ClusterSnapshot, node: str) -> list[NodeView]:
    """The nodes beside `node` that take clients."""
    return [view for view in snapshot.present if view.node != node and view.takes_clients]
