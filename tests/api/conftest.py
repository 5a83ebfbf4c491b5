"""Fixtures: a database, a node on it, and an API in front."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from posthouse.api import server
from posthouse.api.call import Context
from posthouse.api.credentials import Credentials
from posthouse.api.settings import ApiSettings
from posthouse.api.web import build_api
from posthouse.auth.keys import ApiKeys
from posthouse.auth.tokens import TokenIssuer, TokenVerifier
from posthouse.kit.clock import ManualClock
from posthouse.storage.base import Database
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from tests.api.site import APPS, OPERATORS, Cluster, Node, Site


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    database = SqliteDatabase(tmp_path / "posthouse.db", clock)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(requests_per_user_burst=1_000.0)


@pytest.fixture
def answered() -> list[tuple[str, int]]:
    """What the API has counted."""
    return []


@pytest.fixture
async def site(
    database: Database, clock: ManualClock, settings: ApiSettings, answered: list[tuple[str, int]]
) -> AsyncIterator[Site]:
    node = Node(database)
    numbers, cluster = itertools.count(), Cluster()
    context = Context(
        service=node,
        reader=database,
        issuer=TokenIssuer(APPS),
        settings=settings,
        clock=clock,
        new_id=lambda: f"fresh-{next(numbers)}",
        cluster=cluster,
    )
    verifier = TokenVerifier(APPS, ttl_s_max=settings.token_ttl_s_max)
    hashes = [(app, each) for app, keys in APPS.items() for each in keys.api_key_hashes]
    credentials = Credentials(verifier, ApiKeys(hashes), OPERATORS)
    app = build_api(context, credentials, lambda *answer: answered.append(answer))
    runner = await server.start(app)
    listening = await asyncio.get_running_loop().create_server(server.protocols(runner), "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    try:
        async with aiohttp.ClientSession() as session:
            yield Site(f"http://{host}:{port}", session, node, clock, cluster)
    finally:
        listening.close()
        await runner.cleanup()
