"""A real node for tests to talk to, on SQLite, with a clock that stands where the tokens of the vectors are valid."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from posthouse.app.config import App, Config, Key
from posthouse.app.config.values import Data, Listen
from posthouse.app.node import Node
from posthouse.kit.clock import ManualClock
from spec.golden import tokens


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Node]:
    key = Key(kid="k1", alg="HS256", secret=tokens.SECRET)
    apps = {tokens.APP: App(keys=(key,))}
    config = Config(listen=Listen(port=0), data=Data(folder=str(folder)), apps=apps)
    node = Node(config, ManualClock(tokens.NOW_S * 1000))
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """One node for all tests of a file."""
    async with running(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
async def fresh_node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node of the test's own."""
    async with running(tmp_path) as node:
        yield node
