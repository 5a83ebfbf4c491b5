"""The SDK page's example of conversations and members works as it is written."""

import contextlib
import io
import textwrap
from pathlib import Path
from typing import Any

from posthouse.client import Client
from tests.docs.examples import first_example, node_of_ann

PAGE = Path(__file__).resolve().parents[2] / "docs/sdk-python.md"


def example() -> str:
    return first_example(PAGE.read_text().partition("## Conversations and members")[2])


async def test_the_example_of_conversations_and_members_runs(tmp_path: Path) -> None:
    printed = io.StringIO()
    names: dict[str, Any] = {}
    exec(f"async def run(client):\n{textwrap.indent(example(), '    ')}", names)
    async with node_of_ann(tmp_path) as (address, token), Client(address, token=token) as client:
        with contextlib.redirect_stdout(printed):
            await names["run"](client)
    assert printed.getvalue().splitlines() == [
        "Tea at five has 3 members",
        "ann owner",
        "bob admin",
        "dan admin",
        "Ann",
        "1",
    ]
