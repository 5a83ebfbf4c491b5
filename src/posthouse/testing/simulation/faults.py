"""What is done to a simulated cluster, and when: drawn from a seed before anything runs.

A fault begins, lasts, and ends; several may overlap. Those that would outlast the story end with it: then what was
promised must come true.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

STORY_S = 30.0
"""For so long people talk and things break."""
FAULTS_MIN, FAULTS_MAX = 5, 9


class Kind(Enum):
    """What may happen."""

    CRASH_NODE = "crash node"
    FREEZE_NODE = "freeze node"
    DRAIN_NODE = "drain node"
    CRASH_CACHE = "crash cache"
    WIPE_CACHE = "wipe cache"
    CRASH_PRIMARY = "crash primary"
    CRASH_STANDBY = "crash standby"
    SLOW_COMMITS = "slow commits"
    CUT = "cut"
    SLOW_NETWORK = "slow network"
    RESET_LINKS = "reset links"
    LOSSY_BUS = "lossy bus"
    MUTE_BUS = "mute bus"
    """The bus takes everything and delivers nothing, and says nothing."""
    LAG_STANDBY = "lag standby"
    """The standby of a database receives nothing."""
    MOVE_SHARD = "move shard"
    """`target` is a conversation or an account log: the shard that holds it goes to another database."""
    KILL_CLIENT = "kill client"
    """The application ends in mid-sentence, and is started again with its store."""
    JOIN_NODE = "join node"
    ROLLING_DRAIN = "rolling drain"
    """Every node in turn is stopped in order and started again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `target` names a host or a database; `other` the far end of a cut, in the direction target → other."""

    at_s: float
    kind: Kind
    target: str
    lasts_s: float
    other: str = ""

    def __str__(self) -> str:
        where = f"{self.target} → {self.other}" if self.other else self.target
        return f"{self.at_s:.2f} s: {self.kind.value} {where} for {self.lasts_s:.2f} s"


@dataclass(frozen=True, slots=True)
class Places:
    """What there is to break."""

    nodes: Sequence[str]
    clients: Sequence[str]
    databases: Sequence[str]
    cache: str
    logs: Sequence[str]
    newcomers: Sequence[str]
    """Nodes that are not there yet."""


_WEIGHTS = {
    Kind.CRASH_NODE: 6,
    Kind.FREEZE_NODE: 3,
    Kind.DRAIN_NODE: 2,
    Kind.CRASH_CACHE: 3,
    Kind.WIPE_CACHE: 3,
    Kind.CRASH_PRIMARY: 4,
    Kind.CRASH_STANDBY: 2,
    Kind.SLOW_COMMITS: 2,
    Kind.CUT: 6,
    Kind.SLOW_NETWORK: 2,
    Kind.RESET_LINKS: 3,
    Kind.LOSSY_BUS: 4,
    Kind.LAG_STANDBY: 3,
    Kind.MOVE_SHARD: 8,
    Kind.KILL_CLIENT: 4,
    Kind.JOIN_NODE: 2,
    Kind.ROLLING_DRAIN: 2,
}


def draw(rng: random.Random, places: Places) -> list[Fault]:
    """The faults of one story, in the order of their beginnings."""
    kinds = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=rng.randint(FAULTS_MIN, FAULTS_MAX))
    faults = [fault for kind in kinds for fault in _fault(rng, kind, places)]
    return sorted(faults, key=lambda fault: fault.at_s)


def _fault(rng: random.Random, kind: Kind, places: Places) -> list[Fault]:
    at_s = rng.uniform(1.0, STORY_S * 0.8)
    lasts_s = rng.choice((0.2, 1.0, 3.0, 8.0, STORY_S)) * rng.uniform(0.5, 1.5)
    if kind is Kind.LAG_STANDBY:
        return _lag(rng, at_s, lasts_s, places)
    if kind is not Kind.CUT:
        return [Fault(at_s, kind, _target(rng, kind, places), lasts_s)]
    one, other = rng.choice(places.nodes), rng.choice(_others(rng, places))
    if rng.random() < 0.5:
        one, other = other, one
    cut = Fault(at_s, kind, one, lasts_s, other)
    return [cut, Fault(at_s, kind, other, lasts_s, one)] if rng.random() < 0.6 else [cut]


def _lag(rng: random.Random, at_s: float, lasts_s: float, places: Places) -> list[Fault]:
    """Half of the time the primary dies meanwhile, and the standby that lags must take over."""
    database = rng.choice(places.databases)
    lag = Fault(at_s, Kind.LAG_STANDBY, database, lasts_s)
    if rng.random() < 0.5:
        return [lag]
    return [lag, Fault(at_s + rng.random() * lasts_s, Kind.CRASH_PRIMARY, database, rng.uniform(1.0, 12.0))]


def _target(rng: random.Random, kind: Kind, places: Places) -> str:
    if kind in (Kind.CRASH_NODE, Kind.FREEZE_NODE, Kind.DRAIN_NODE):
        return rng.choice(places.nodes)
    if kind in (Kind.CRASH_PRIMARY, Kind.CRASH_STANDBY, Kind.SLOW_COMMITS):
        return rng.choice(places.databases)
    if kind is Kind.MOVE_SHARD:
        return rng.choice(places.logs)
    if kind is Kind.JOIN_NODE:
        return rng.choice(places.newcomers)
    if kind is Kind.KILL_CLIENT:
        return rng.choice(places.clients)
    if kind is Kind.SLOW_NETWORK:
        return rng.choice((*places.nodes, *places.clients, places.cache))
    if kind is Kind.RESET_LINKS:
        return rng.choice((*places.nodes, *places.clients))
    return places.cache


def _others(rng: random.Random, places: Places) -> Sequence[str]:
    """The far ends of what a node is connected to."""
    machines = [f"{database}-{number}" for database in places.databases for number in (1, 2)]
    return rng.choice(([places.cache], machines, places.clients))
