"""What a node says of its health to its peers, once a second with its load. Pure."""

from typing import NamedTuple

import msgspec

CANARY_APP = "~canary"
"""The app of all canaries. Each node signs its canary's tokens with a key of its own, which no other node knows."""

OK, SLOW, READ_ONLY, FAILED = "ok", "slow", "read-only", "failed"
"""States of a part; all but the first two are failures."""


class HealthReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One node's view. An empty text stands for what the node does not know or does not have."""

    databases: dict[str, str] = {}
    replicas: dict[str, str] = {}
    cache: str = ""
    bus: str = ""
    canary: str = ""
    lagging: bool = False
    peers: dict[str, str] = {}
    """What its own probes say of the nodes that it probes."""
    distrust: int = 0

    @property
    def failing(self) -> frozenset[str]:
        """What the node needs and finds failing, each by its full name."""
        known = {
            **{f"database {name}": state for name, state in self.databases.items()},
            **{f"replica {name}": state for name, state in self.replicas.items()},
            "cache": self.cache,
            "bus": self.bus,
            "canary": self.canary,
            "loop": self.state("loop"),
        }
        return frozenset(name for name, state in known.items() if is_failure(state))

    def state(self, part: str) -> str:
        """The state of a part by its full name, such as `database main`."""
        kind, _, name = part.partition(" ")
        match kind:
            case "database":
                return self.databases.get(name, "")
            case "replica":
                return self.replicas.get(name, "")
            case "loop":
                return FAILED if self.lagging else OK
            case _:
                return {"cache": self.cache, "bus": self.bus, "canary": self.canary}.get(kind, "")


class Peer(NamedTuple):
    """Another node as this one knows it. `url` is where its API answers; `fresh`: its report is not stale."""

    node: str
    url: str
    report: HealthReport
    fresh: bool = True
    draining: bool = False


def is_failure(state: str) -> bool:
    """True for a part that does not do its work."""
    return state in (READ_ONLY, FAILED)
