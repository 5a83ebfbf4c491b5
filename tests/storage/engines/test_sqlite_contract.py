"""SQLite keeps the storage contract."""

from pathlib import Path

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from posthouse.testing.contracts.storage import OpenDatabase, StorageContract, TrimmingContract


class TestSqlite(StorageContract, TrimmingContract):
    @pytest.fixture
    def open_database(self, tmp_path: Path) -> OpenDatabase:
        async def opened() -> SqliteDatabase:
            database = SqliteDatabase(tmp_path / "posthouse.db", SystemClock())
            await database.open()
            return database

        return opened
