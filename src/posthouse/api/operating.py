"""What operating the cluster means to the API: shapes of what is told, and the port that the node supplies."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node as the asked one sees it: what it last said, and `silent_s` ago.

    `presence` is live, silent or gone. `share` is what it gets of new sessions now. `cpu`, `memory` and `network` are
    shares of what it may use.
    """

    node: str
    presence: str
    why: str
    silent_s: float
    ready: bool
    reason: str
    draining: bool
    zone: str
    version: str
    up_s: float
    sessions: int
    deliveries_per_s: float
    errors_per_s: float
    in_flight: int
    latency_ms: float
    cpu: float
    memory: float
    network: float
    loop_lag_ms: float
    weight: float
    share: float
    clients_url: str
    api_url: str
    agent_port: int


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes by name. `known` is false while the register cannot be read: then this is what was known before."""

    asked: str
    known: bool
    why: str
    nodes: tuple[NodeStatus, ...]


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions a node sends away, and why."""

    node: str
    sessions: int
    reason: str


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """The node was told. `sessions` are those it has now; `reason` is one sentence of what happens."""

    node: str
    sessions: int
    reason: str


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """A decision or something seen: `kind` is a word such as `drain`, `subject` whom it concerns, `why` one sentence.

    `node` told it as its `number`th since it started as `incarnation`: together they name it. `dry_run`: it was only
    said what would be done.
    """

    at_ms: int
    node: str
    incarnation: int
    number: int
    kind: str
    subject: str
    why: str
    dry_run: bool = False


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """The last ones that the asked node knows of, oldest first."""

    asked: str
    events: tuple[EventView, ...]


class Refused(Exception):
    """The cluster cannot do what an operator asks; the message says why and what to do."""


class Cluster(Protocol):
    """The cluster as one node can operate it."""

    def nodes(self) -> Nodes:
        """Everybody, as this node sees them."""
        ...

    def drain(self, node: str, within_s: float, undo: bool) -> Drained:
        """Tell a node to drain, or to serve again. Raises `Refused`, and `KeyError` for a node that nobody knows."""
        ...

    def rebalance(self, dry_run: bool) -> Sequence[Move]:
        """Tell all nodes to even out, unless it is only asked what they would do."""
        ...

    def events(self, limit: int, kind: str, subject: str) -> Events:
        """What was decided and why, as far as this node has heard. Empty texts choose all."""
        ...
