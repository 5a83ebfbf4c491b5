"""PostgreSQL keeps the storage contract."""

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.testing.contracts.storage import OpenDatabase, StorageContract, TrimmingContract


class TestPostgres(StorageContract, TrimmingContract):
    @pytest.fixture
    def open_database(self, dsn: str) -> OpenDatabase:
        async def opened() -> PostgresDatabase:
            database = PostgresDatabase(dsn, SystemClock())
            await database.open()
            return database

        return opened
