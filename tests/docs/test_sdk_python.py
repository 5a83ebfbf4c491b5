"""The SDK page's example of conversations and members works as it is written."""

import contextlib
import io
import re
import textwrap
from pathlib import Path
from typing import Any

from posthouse.app.config import Config
from posthouse.app.config.values import Data, Listen
from posthouse.app.node import Node
from posthouse.app.secrets import DEFAULT_APP, credentials
from posthouse.auth.tokens import TokenIssuer
from posthouse.client import Client
from posthouse.kit.clock import SystemClock

PAGE = Path(__file__).resolve().parents[2] / "docs/sdk-python.md"


def example() -> str:
    section = PAGE.read_text().partition("## Conversations and members")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_example_of_conversations_and_members_runs(tmp_path: Path) -> None:
    config = Config(listen=Listen(port=0), data=Data(folder=str(tmp_path)))
    node = Node(config)
    await node.start()
    printed = io.StringIO()
    try:
        issuer = TokenIssuer(credentials(config).apps)
        token = issuer.issue(DEFAULT_APP, "ann", now_s=SystemClock().now_ms() // 1000, ttl_s=60)
        names: dict[str, Any] = {}
        exec(f"async def run(client):\n{textwrap.indent(example(), '    ')}", names)
        async with Client(f"http://127.0.0.1:{node.port}", token=token) as client:
            with contextlib.redirect_stdout(printed):
                await names["run"](client)
    finally:
        await node.stop()
    assert printed.getvalue().splitlines() == [
        "Tea at five has 3 members",
        "ann owner",
        "bob admin",
        "dan admin",
        "Ann",
        "1",
    ]
