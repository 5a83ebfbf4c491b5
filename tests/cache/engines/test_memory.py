"""The cache of a cluster of one keeps the contracts."""

import pytest

from posthouse.cache.base import Leases, LogKey, Nodes, Routes
from posthouse.cache.engines.memory import MemoryLeases, MemoryNodes, MemoryRoutes
from posthouse.kit.clock import SystemClock
from posthouse.testing.contracts.leases import LeasesContract
from posthouse.testing.contracts.nodes import NodesContract
from posthouse.testing.contracts.routes import RoutesContract


class TestMemoryRoutes(RoutesContract):
    @pytest.fixture
    def routes(self) -> Routes:
        return MemoryRoutes()


class TestMemoryLeases(LeasesContract):
    @pytest.fixture
    def leases(self) -> Leases:
        return MemoryLeases(SystemClock())


class TestMemoryNodes(NodesContract):
    @pytest.fixture
    def nodes(self) -> Nodes:
        return MemoryNodes(SystemClock())


async def test_logs_that_nobody_follows_any_more_take_no_memory() -> None:
    routes = MemoryRoutes()
    keys: list[LogKey] = [("app", str(number)) for number in range(1_000)]
    await routes.register("n", keys)
    await routes.unregister("n", keys)
    assert routes._routes == {}
    assert len(routes._shared) == 1
