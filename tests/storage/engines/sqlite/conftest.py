"""A SQLite database on a disk that can fail."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.faults_sqlite import Disk


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Disk(Random(1)) as disk:
        yield disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "posthouse.db"


@pytest.fixture
async def database(path: Path, disk: Disk) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, SystemClock(), vfs=disk.name)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def talk(database: SqliteDatabase) -> Talk:
    return Talk(database)
