"""The storage contract on a real PostgreSQL."""

from collections.abc import Iterator

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.testing.contracts.storage import OpenDatabase, StorageContract
from posthouse.testing.postgres import fresh_database, shared_postgres


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with fresh_database() as dsn:
        yield dsn
    shared_postgres().close()


class TestPostgres(StorageContract):
    @pytest.fixture
    def open_database(self, dsn: str) -> OpenDatabase:
        async def open_database() -> PostgresDatabase:
            database = PostgresDatabase(dsn, SystemClock())
            await database.open()
            return database

        return open_database
