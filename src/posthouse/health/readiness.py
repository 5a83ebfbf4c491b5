"""Readiness as a decision with its reasons. Pure.

It is relative. A fault that every node has is the service's: taking nodes out would only make it worse, so they stay
ready and say what is degraded. A fault that this node has alone is its own: it gets no traffic until that is over. One
database of several takes no node out. A node that serves reads but cannot commit stays up and says why.
"""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.health.detector import State
from posthouse.health.report import FAILED, OK, SLOW, Peer, is_failure

ALONE_AFTER_S = 6.0
"""A fault that all have is not seen by all at once: probes time out after 5 s, and reports are a second old. Before so
long nobody is taken out for faring worse than the others."""
PROBERS_MIN = 2
"""So many nodes must agree that they cannot reach a third one; one alone may be the one that is cut off."""


class Part(NamedTuple):
    """One thing that the node needs, by its full name (`database main`, `cache`, `canary`, `loop`, `peers`).

    `reason` is a sentence about it, without a full stop. `failed_s` is for how long it has not done its work while that
    of another node did, where there are others.
    """

    name: str
    state: str
    reason: str
    failed_s: float = 0.0

    @property
    def kind(self) -> str:
        """The first word of its name."""
        return self.name.partition(" ")[0]

    @property
    def failed(self) -> bool:
        """It does not do its work."""
        return is_failure(self.state)


class Readiness(NamedTuple):
    """Whether this node should get traffic, and one sentence of why. `degraded`: ready, but something is wrong.
    `draining`: not ready because it was told to send its clients away."""

    ready: bool
    reason: str
    degraded: bool = False
    parts: tuple[Part, ...] = ()
    draining: bool = False


STARTING = Readiness(False, "the node is starting")


def judge(
    node: str, parts: Sequence[Part], peers: Sequence[Peer] = (), *, draining: bool = False
) -> Readiness:
    """The verdict on `node`, which finds its parts like this, beside peers that say how they find theirs.

    `parts` empty: nothing has been probed yet.
    """
    known = tuple(parts)
    if draining:
        return Readiness(False, "the node is draining", parts=known, draining=True)
    if not known:
        return STARTING
    fresh = [peer for peer in peers if peer.fresh and not peer.draining and peer.node != node]
    known += _reached(node, fresh)
    for part in known:
        if part.failed and _blocks(part, known, fresh):
            return Readiness(False, part.reason + _unlike(part, fresh), parts=known)
    worse = [part.reason for part in known if part.failed] + [p.reason for p in known if p.state == SLOW]
    if worse:
        return Readiness(True, f"ready, but degraded: {'; '.join(worse)}", degraded=True, parts=known)
    return Readiness(True, _all_is_well(known), parts=known)


def _blocks(part: Part, parts: Sequence[Part], fresh: Sequence[Peer]) -> bool:
    """Whether a failed part takes the node out."""
    others = [state for peer in fresh if (state := peer.report.state(part.name))]
    alone = not all(map(is_failure, others)) and part.failed_s >= ALONE_AFTER_S
    databases = [each for each in parts if each.kind == "database"]
    match part.kind:
        case "database":
            return alone if others else all(each.failed for each in databases)
        case "canary":  # a database that fails takes its canary along
            return (alone if others else True) and not any(each.failed for each in databases)
        case "loop":
            return alone if others else True
        case "peers":  # where nobody reaches anybody, the addresses are not meant for each other
            return any(state == State.LIVE for peer in fresh for state in peer.report.peers.values())
    return False  # cache, bus and replicas have a slower path around them


def _unlike(part: Part, fresh: Sequence[Peer]) -> str:
    """Who fares better."""
    able = [p.node for p in fresh if (state := p.report.state(part.name)) and not is_failure(state)]
    return f", unlike on {', '.join(able[:3])}{' and others' if len(able) > 3 else ''}" if able else ""


def _reached(node: str, fresh: Sequence[Peer]) -> tuple[Part, ...]:
    """What the others' probes of this node say, if any of them probes it."""
    said = {peer.node: peer.report.peers[node] for peer in fresh if node in peer.report.peers}
    if not said:
        return ()
    dead = [each for each, state in said.items() if state == State.DEAD]
    if len(dead) >= PROBERS_MIN and len(dead) == len(said):
        return (Part("peers", FAILED, f"{' and '.join(dead)} cannot reach this node"),)
    return (Part("peers", OK, "other nodes reach this one"),)


def _all_is_well(parts: Sequence[Part]) -> str:
    several = sum(part.kind == "database" for part in parts) > 1
    return "the databases answer and commit" if several else "the database answers and commits"
