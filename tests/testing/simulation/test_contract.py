"""What stands behind the ports in the simulation keeps the ports' contracts, as every engine does."""

import random
from collections.abc import AsyncIterator

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.base import Database as StorageDatabase
from posthouse.testing.contracts.storage import OpenDatabase, StorageContract
from posthouse.testing.simulation.database import Database
from posthouse.testing.simulation.engine import SimulatedEngine
from posthouse.testing.simulation.network import Network


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    network = Network(SystemClock(), random.Random(1), latency_s=(0.0, 0.0))
    yield network
    await network.tasks.close()


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
