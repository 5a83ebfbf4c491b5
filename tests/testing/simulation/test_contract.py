"""What stands behind the ports in the simulation keeps the ports' contracts, as every engine does."""

import random
from collections.abc import AsyncIterator

import pytest

from posthouse.bus.base import Bus
from posthouse.cache.base import Leases, Nodes, Routes
from posthouse.kit.clock import SystemClock
from posthouse.storage.base import Database as StorageDatabase
from posthouse.testing.contracts.bus import BusContract
from posthouse.testing.contracts.leases import LeasesContract
from posthouse.testing.contracts.nodes import NodesContract
from posthouse.testing.contracts.routes import ALL, RoutesContract
from posthouse.testing.contracts.storage import OpenDatabase, StorageContract
from posthouse.testing.simulation.cache import Cache, CacheBus, CacheLeases, CacheNodes, CacheRoutes
from posthouse.testing.simulation.database import Database
from posthouse.testing.simulation.engine import SimulatedEngine
from posthouse.testing.simulation.network import Network


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    network = Network(SystemClock(), random.Random(1), latency_s=(0.0, 0.0))
    yield network
    await network.tasks.close()


@pytest.fixture
def cache(network: Network, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(
        "posthouse.testing.simulation.cache.DEADLINE_S", 30.0
    )  # here real time passes, not virtual
    return Cache(network, random.Random(2), network.clock)


class TestSimulatedDatabase(StorageContract):
    @pytest.fixture
    async def open_database(self, network: Network) -> OpenDatabase:
        database = Database("database-a", network, random.Random(2), network.clock)
        host = network.start("node-1")

        async def open_database() -> StorageDatabase:
            engine = SimulatedEngine(database, host)
            await engine.open()
            return engine

        return open_database


class TestSimulatedRoutes(RoutesContract):
    @pytest.fixture
    async def routes(self, network: Network, cache: Cache) -> Routes:
        routes = CacheRoutes(cache, network.start("node-1"))
        for gateway in ALL:
            await routes.keep(gateway)  # from then on it is known what each follows
        return routes


class TestSimulatedLeases(LeasesContract):
    @pytest.fixture
    def leases(self, network: Network, cache: Cache) -> Leases:
        return CacheLeases(cache, network.start("node-1"))


class TestSimulatedNodes(NodesContract):
    @pytest.fixture
    def nodes(self, network: Network, cache: Cache) -> Nodes:
        return CacheNodes(cache, network.start("node-1"))


class TestSimulatedBus(BusContract):
    @pytest.fixture
    def bus(self, network: Network, cache: Cache) -> Bus:
        return CacheBus(cache, network.start("node-1"))
