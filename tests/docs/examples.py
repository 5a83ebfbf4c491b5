"""Runs what the documents show: their Python examples, and a node of its own for them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from posthouse.app.config import Config
from posthouse.app.config.values import Data, Listen
from posthouse.app.node import Node
from posthouse.app.secrets import DEFAULT_APP, credentials
from posthouse.auth.tokens import TokenIssuer
from posthouse.kit.clock import SystemClock


def first_example(text: str) -> str:
    """The first Python example of a text."""
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@asynccontextmanager
async def node_of_ann(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A running node: its address, and a token of the user ann."""
    config = Config(listen=Listen(port=0), data=Data(folder=str(folder)))
    node = Node(config)
    await node.start()
    try:
        issuer = TokenIssuer(credentials(config).apps)
        token = issuer.issue(DEFAULT_APP, "ann", now_s=SystemClock().now_ms() // 1000, ttl_s=60)
        yield f"http://127.0.0.1:{node.port}", token
    finally:
        await node.stop()
