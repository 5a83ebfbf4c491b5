"""Servers of both engines. Each test has a database of its own."""

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from posthouse.testing.postgres import LocalPostgres, fresh_database, shared_postgres
from tests.service.site import Site, serving

ENGINES = ("sqlite", "postgresql")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres() -> LocalPostgres:
    return shared_postgres()


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of an empty database, of each engine in turn."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    with fresh_database(request.getfixturevalue("postgres")) as dsn:
        yield dsn


@pytest.fixture
async def site(database: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A node in this process, of each engine in turn."""
    async with serving(tmp_path, database) as site:
        yield site


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Site]:
    """A node in this process on the embedded engines, for what no engine has to do with."""
    async with serving(tmp_path) as site:
        yield site
