"""The cache of a cluster of one: dictionaries. Used inside one event loop only; never loses anything."""

from collections.abc import Sequence

from posthouse.cache.base import Lease, LogKey, NodeRecord
from posthouse.kit.clock import Clock

_NOBODY: frozenset[str] = frozenset()


class MemoryRoutes:
    """Knows everything there is to know, so it never answers "unknown"."""

    def __init__(self) -> None:
        self._routes: dict[LogKey, frozenset[str]] = {}
        self._shared: dict[frozenset[str], frozenset[str]] = {}

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        for key in keys:
            self._set(key, self._routes.get(key, _NOBODY) | {gateway})

    async def unregister(self, gateway: str, keys: Sequence[LogKey]) -> None:
        for key in keys:
            self._set(key, self._routes.get(key, _NOBODY) - {gateway})

    async def keep(self, gateway: str) -> Sequence[LogKey]:
        return ()

    async def forget(self, gateway: str) -> None:
        await self.unregister(gateway, [key for key, gateways in self._routes.items() if gateway in gateways])

    async def gateways(self, keys: Sequence[LogKey], among: Sequence[str]) -> list[frozenset[str] | None]:
        live = frozenset(among)
        return [self._routes.get(key, _NOBODY) & live for key in keys]

    def _set(self, key: LogKey, gateways: frozenset[str]) -> None:
        """Equal sets are kept once: a hundred thousand logs on one gateway share a single set."""
        if gateways:
            self._routes[key] = self._shared.setdefault(gateways, gateways)
        else:
            self._routes.pop(key, None)


class MemoryLeases:
    """Leases by the given clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, tuple[Lease, float]] = {}

    async def take(self, name: str, holder: str, ttl_s: float) -> Lease:
        now = self._clock.monotonic()
        lease, until = self._leases.get(name, (Lease(name, "", 0), 0.0))
        if lease.holder != holder:
            if until > now:
                return lease
            lease = Lease(name, holder, max(lease.epoch + 1, self._clock.now_ms()))
        self._leases[name] = lease, now + ttl_s
        return lease

    async def release(self, lease: Lease) -> bool:
        held, _ = self._leases.get(lease.name, (None, 0.0))
        if held != lease:
            return False
        self._leases[lease.name] = lease._replace(holder=""), 0.0
        return True


class MemoryNodes:
    """The register of nodes by the given clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nodes: dict[str, tuple[int, bytes, float, float]] = {}

    async def announce(self, node: str, incarnation: int, report: bytes, ttl_s: float) -> bool:
        known = self._live().get(node)
        if known is not None and known[0] > incarnation:
            return False
        now = self._clock.monotonic()
        self._nodes[node] = incarnation, report, now, now + ttl_s
        return True

    async def retract(self, node: str, incarnation: int) -> None:
        if node in self._nodes and self._nodes[node][0] == incarnation:
            del self._nodes[node]

    async def all(self) -> list[NodeRecord]:
        now = self._clock.monotonic()
        return [
            NodeRecord(node, incarnation, now - said, report)
            for node, (incarnation, report, said, _) in sorted(self._live().items())
        ]

    def _live(self) -> dict[str, tuple[int, bytes, float, float]]:
        now = self._clock.monotonic()
        self._nodes = {node: record for node, record in self._nodes.items() if record[3] > now}
        return self._nodes
