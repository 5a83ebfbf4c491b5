"""A PostgreSQL with a fresh database for each module, nodes on it, and connections of the test's own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.database import PostgresDatabase, PostgresLimits
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.postgres import LocalPostgres, fresh_database, shared_postgres
from tests.storage.engines.postgres.watching import OpenNode, connected


@pytest.fixture(scope="session")
def shared() -> LocalPostgres:
    return shared_postgres()


@pytest.fixture(scope="module")
def server(shared: LocalPostgres) -> LocalPostgres:
    """The server a module's tests run on; a module that does it harm defines its own."""
    return shared


@pytest.fixture(scope="module")
def dsn(server: LocalPostgres) -> Iterator[str]:
    with fresh_database(server) as dsn:
        yield dsn


@pytest.fixture
async def open_node(dsn: str) -> AsyncIterator[OpenNode]:
    """Opens the database as a node of a cluster does; called twice, there are two nodes."""
    opened: list[PostgresDatabase] = []

    async def open_node(**limits: Any) -> PostgresDatabase:
        database = PostgresDatabase(dsn, SystemClock(), PostgresLimits(**limits))
        opened.append(database)
        await database.open()
        return database

    yield open_node
    await asyncio.gather(*(database.close() for database in opened))


@pytest.fixture
async def database(open_node: OpenNode) -> PostgresDatabase:
    return await open_node()


@pytest.fixture
def talk(database: PostgresDatabase) -> Talk:
    return Talk(database)


@pytest.fixture
async def watcher(dsn: str) -> AsyncIterator[Connection]:
    """A connection of the test's own, beside those of the engine."""
    async with connected(dsn) as connection:
        yield connection


@pytest.fixture
async def rival(dsn: str) -> AsyncIterator[Connection]:
    """A second connection of the test's own: somebody else's transaction."""
    async with connected(dsn) as connection:
        yield connection
