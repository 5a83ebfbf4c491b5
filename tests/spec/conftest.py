"""A real node for the tests of a file to talk to."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from posthouse.app.config import App, Config, Key
from posthouse.app.config.values import Data, Listen
from posthouse.app.node import Node
from posthouse.kit.clock import ManualClock
from spec.golden import tokens


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """A node that knows the keys of the token vectors; its clock stands where they are valid."""
    key = Key(kid="k1", alg="HS256", secret=tokens.SECRET)
    config = Config(
        listen=Listen(port=0),
        data=Data(folder=str(tmp_path_factory.mktemp("node"))),
        apps={tokens.APP: App(keys=(key,))},
    )
    node = Node(config, ManualClock(tokens.NOW_S * 1000))
    await node.start()
    yield node
    await node.stop()
