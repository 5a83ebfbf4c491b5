"""Good people, whom nothing that a test does to a node may disturb."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from posthouse.kit.tasks import start
from tests.service.site import Site

PAUSE_S = 0.03
"""Good people type slower than any limit."""


@asynccontextmanager
async def chatting(site: Site) -> AsyncIterator[None]:
    """Two people chat while the test misbehaves: everything that one says reaches the other."""
    conv = await site.group("ann", "ben", kind="direct")
    ann, ben = await site.enter("ann", "good"), await site.enter("ben", "good")
    over, exchanged = asyncio.Event(), asyncio.Event()

    async def chat() -> None:
        while not over.is_set():
            ack = await ann.send(conv)
            assert ack["t"] == "ack", ack
            await ben.caught_up(conv, ack["seq"])
            exchanged.set()
            await asyncio.sleep(PAUSE_S)

    chat_going_on = start(chat())
    await exchanged.wait()
    try:
        yield
    finally:
        over.set()
        await chat_going_on
    assert await ben.caught_up(conv, (await ann.send(conv))["seq"]) == list(range(2, len(ben.seqs(conv)) + 2))
