"""Memory engines of the cache that fall silent when told to."""

from collections.abc import Sequence

from posthouse.cache.base import CacheUnavailable, Lease, LogKey, NodeRecord
from posthouse.cache.engines.memory import MemoryLeases, MemoryNodes, MemoryRoutes


class Silence:
    """Shared by what stands on one cache. `fail` raises while it is down."""

    def __init__(self) -> None:
        self.down = False

    def fail(self) -> None:
        if self.down:
            raise CacheUnavailable("the cache is silent")


class SilentLeases(MemoryLeases):
    silence = Silence()

    async def take(self, name: str, holder: str, ttl_s: float) -> Lease:
        self.silence.fail()
        return await super().take(name, holder, ttl_s)

    def wipe(self) -> None:
        self._leases.clear()


class SilentNodes(MemoryNodes):
    silence = Silence()

    async def announce(self, node: str, incarnation: int, report: bytes, ttl_s: float) -> bool:
        self.silence.fail()
        return await super().announce(node, incarnation, report, ttl_s)

    async def all(self) -> list[NodeRecord]:
        self.silence.fail()
        return await super().all()

    def wipe(self) -> None:
        self._nodes.clear()


class SilentRoutes(MemoryRoutes):
    """As the port says: what could not be registered is made good by a later `keep`."""

    silence = Silence()

    def __init__(self) -> None:
        super().__init__()
        self._owed: dict[str, list[LogKey]] = {}

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        if self.silence.down:
            self._owed.setdefault(gateway, []).extend(keys)
        self.silence.fail()
        await super().register(gateway, keys)

    async def keep(self, gateway: str) -> Sequence[LogKey]:
        self.silence.fail()
        owed = self._owed.pop(gateway, [])
        await super().register(gateway, owed)
        return owed

    async def gateways(self, keys: Sequence[LogKey], among: Sequence[str]) -> list[frozenset[str] | None]:
        if self.silence.down:
            return [None] * len(keys)
        return await super().gateways(keys, among)
