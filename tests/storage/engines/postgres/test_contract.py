"""PostgreSQL keeps the storage contract, alone and with replicas that answer whatever they can."""

from collections.abc import Iterator

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.engines.postgres import replicas
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.testing.contracts.storage import OpenDatabase, StorageContract, TrimmingContract
from posthouse.testing.contracts.storage.membership import Membership
from posthouse.testing.contracts.storage.reading import Reading
from posthouse.testing.contracts.storage.trimming import Trimmed
from posthouse.testing.postgres_cluster import LocalPostgresCluster


class TestPostgres(StorageContract, TrimmingContract):
    @pytest.fixture
    def open_database(self, dsn: str) -> OpenDatabase:
        async def opened() -> PostgresDatabase:
            database = PostgresDatabase(dsn, SystemClock())
            await database.open()
            return database

        return opened


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalPostgresCluster]:
    """One replica must confirm each write, the other one need not."""
    with LocalPostgresCluster(2, settings={"fsync": False, "autovacuum": False}) as cluster:
        yield cluster


class TestPostgresWithReplicas(Membership, Reading, Trimmed):
    """Every read of entries is offered to the replicas, however small, and however often they are behind."""

    @pytest.fixture
    def open_database(self, cluster: LocalPostgresCluster, monkeypatch: pytest.MonkeyPatch) -> OpenDatabase:
        monkeypatch.setattr(replicas, "HEAVY_ENTRIES_MIN", 1)
        monkeypatch.setattr(replicas, "MISSES_MAX", 1_000)

        async def opened() -> PostgresDatabase:
            database = PostgresDatabase(cluster.dsn(), SystemClock())
            await database.open()
            return database

        return opened
