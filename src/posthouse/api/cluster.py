"""What operators ask of the cluster: who is in it, taking a node out of service, evening out sessions."""

from typing import Annotated

import msgspec
from msgspec import Meta

from posthouse.api.call import Call
from posthouse.api.credentials import Access
from posthouse.api.errors import ApiError
from posthouse.api.operating import Drained, Events, Move, Nodes, Refused
from posthouse.api.routes import Routes
from posthouse.protocol.codes import Code

WITHIN_S_MAX = 3_600.0
WITHIN_S = 60.0

EVENTS_LIMIT_MAX = 2_000

NodeName = Annotated[str, Meta(min_length=1, max_length=128)]


class Drain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a node out of service within so many seconds, or (`undo`) put it back."""

    node: NodeName
    within_s: Annotated[float, Meta(ge=0, le=WITHIN_S_MAX)] = WITHIN_S
    undo: bool = False


class Rebalance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Even out sessions now, also where that is not automatic. `dry_run` only says what would be moved."""

    dry_run: bool = False


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events: the last `limit` of a kind, or about a node."""

    limit: Annotated[int, Meta(ge=1, le=EVENTS_LIMIT_MAX)] = 200
    kind: Annotated[
        str, Meta(max_length=64, description="Such as `drain` or `readiness`; all when empty.")
    ] = ""
    subject: Annotated[str, Meta(max_length=128, description="Whom they concern; all when empty.")] = ""


class Rebalanced(msgspec.Struct, frozen=True, kw_only=True):
    """The decision for each node. Each carries out its own part, slowly."""

    dry_run: bool
    moves: tuple[Move, ...]


routes = Routes()


@routes.get("/cluster/nodes", Access.OPERATOR)
async def list_nodes(call: Call) -> Nodes:
    """Every node with its load, its health and what it gets of new sessions."""
    return call.context.cluster.nodes()


@routes.post("/cluster/drain", Access.OPERATOR, 404, 409)
async def drain_node(call: Call, body: Drain) -> Drained:
    """Take a node out of service without a failed send, or put it back. Its clients are told when and where to go."""
    try:
        return call.context.cluster.drain(body.node, body.within_s, body.undo)
    except KeyError:
        raise ApiError(Code.NOT_FOUND, f"no node is called {body.node!r}") from None
    except Refused as refused:
        raise ApiError(Code.CONFLICT, str(refused)) from None


@routes.post("/cluster/rebalance", Access.OPERATOR)
async def rebalance_nodes(call: Call, body: Rebalance) -> Rebalanced:
    """Even out the sessions of all nodes."""
    moves = call.context.cluster.rebalance(body.dry_run)
    return Rebalanced(dry_run=body.dry_run, moves=tuple(moves))


@routes.get("/cluster/events", Access.OPERATOR)
async def list_events(call: Call, query: EventsQuery) -> Events:
    """What was decided and seen in the cluster, and why."""
    return call.context.cluster.events(query.limit, query.kind, query.subject)
