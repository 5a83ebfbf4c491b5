"""The agent answers whoever connects with one line, and takes nothing in."""

import asyncio

from posthouse.gateway.agent import Agent


async def asked(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    line = await reader.read()
    writer.close()
    return line


async def test_each_connection_gets_the_line_of_that_moment() -> None:
    lines = iter([b"ready up 75%\n", b"drain\n"])
    agent = Agent(lambda: next(lines))
    await agent.start("127.0.0.1", 0)
    try:
        assert await asked(agent.port) == b"ready up 75%\n"
        assert await asked(agent.port) == b"drain\n"
        assert agent.answered == 2
    finally:
        agent.stop()
