"""The cache ports: routes, leases and the register of nodes. Soft state only: losing all of it loses no message.

"Unknown" and "nobody" are different answers, and so are "refused" and "cannot say": whatever may reach a server raises
`CacheUnavailable` when it cannot say. One contract suite for each port, in posthouse.testing.contracts, runs on every
engine.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

LogKey = tuple[str, str]
"""(app, log id)."""


class Routes(Protocol):
    """Log → gateways. A gateway that is gone answers for nothing: its routes end with its time to live.

    Whatever the cache has lost of a gateway's routes counts as registered until the gateway has made it good with
    `keep`, so a wiped cache sends too much and never too little.
    """

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        """`gateway` has recipients for these logs from now on. Repeating it changes nothing.

        Raises `CacheUnavailable` when that is not certain; the engine then does it in a later `keep`.
        """
        ...

    async def unregister(self, gateway: str, keys: Sequence[LogKey]) -> None:
        """`gateway` has none any more. Only its own routes are touched. Never raises: `keep` tidies up."""
        ...

    async def keep(self, gateway: str) -> Sequence[LogKey]:
        """To be called about once a second by the gateway itself: keeps its routes alive, puts back what the cache has
        lost, and returns those logs, whose hints may have been missed meanwhile. Raises `CacheUnavailable`."""
        ...

    async def forget(self, gateway: str) -> None:
        """The gateway stops: all its routes end now. Never raises."""
        ...

    async def gateways(self, keys: Sequence[LogKey], among: Sequence[str]) -> list[frozenset[str] | None]:
        """For each log those of the gateways `among` (the live ones) that have recipients for it, with those of which
        it is not known. None where nothing is known at all, as when the cache is down. Never raises, and answers
        within a fraction of a second."""
        ...


class Lease(NamedTuple):
    """A claim that expires. `epoch` rises with every change of holder, also across a wipe of the cache."""

    name: str
    holder: str
    epoch: int


class Leases(Protocol):
    """Who does what must be done by one. Two holders at once are possible after a wipe, and must do no harm."""

    async def take(self, name: str, holder: str, ttl_s: float) -> Lease:
        """Take the lease if it is free, renew it if `holder` has it. Returns the lease as it stands now, whoever holds
        it. Raises `CacheUnavailable`: whoever held it must stop at two thirds of `ttl_s`."""
        ...

    async def release(self, lease: Lease) -> bool:
        """Give it back, if it is still exactly this one (compare and delete)."""
        ...


class NodeRecord(NamedTuple):
    """What one node has said of itself. `silent_s` is how long ago, by the cache's own clock."""

    node: str
    incarnation: int
    silent_s: float
    report: bytes


class Nodes(Protocol):
    """The register of nodes: each announces itself every second; who falls silent for `ttl_s` is gone."""

    async def announce(self, node: str, incarnation: int, report: bytes, ttl_s: float) -> bool:
        """Say that this node lives. False: a newer incarnation of the same name has; this one must stop."""
        ...

    async def retract(self, node: str, incarnation: int) -> None:
        """The node stops. Only its own record is touched. Never raises."""
        ...

    async def all(self) -> list[NodeRecord]:
        """Every node that is not gone, in the order of names. Raises `CacheUnavailable`."""
        ...


class CacheUnavailable(Exception):
    """The cache does not answer, or not in time. Nothing is known of what was asked."""
