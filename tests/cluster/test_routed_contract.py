"""Several databases behind the router keep the same contract as one."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from posthouse.cluster.databases import Databases
from posthouse.cluster.routing import RoutedDatabase
from posthouse.kit.clock import SystemClock
from posthouse.storage.base import Database
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from posthouse.testing.contracts.storage import OpenDatabase, RoutedContract
from posthouse.testing.postgres import LocalPostgres, fresh_database, shared_postgres

NAMES = ("a", "b")


async def _open(databases: dict[str, Database]) -> Database:
    """Opened as a database: the contract asks nothing of it that a router does not answer."""
    routed = RoutedDatabase(Databases(databases, SystemClock()))
    await routed.open()
    return cast("Database", routed)


class TestTwoSqlites(RoutedContract):
    @pytest.fixture
    def open_database(self, tmp_path: Path) -> OpenDatabase:
        return lambda: _open(
            {name: SqliteDatabase(tmp_path / f"{name}.sqlite", SystemClock()) for name in NAMES}
        )


@pytest.fixture(scope="module")
def server() -> LocalPostgres:
    return shared_postgres()


@pytest.fixture(scope="module")
def dsns(server: LocalPostgres) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(fresh_database(server)) for name in NAMES}


class TestTwoPostgres(RoutedContract):
    @pytest.fixture
    def open_database(self, dsns: dict[str, str]) -> OpenDatabase:
        return lambda: _open(
            {name: PostgresDatabase(dsn, SystemClock(), name=name, alone=False) for name, dsn in dsns.items()}
        )
