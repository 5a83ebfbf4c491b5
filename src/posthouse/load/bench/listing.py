"""Listing: how soon a client has the list of its many conversations, with long histories behind them."""

import asyncio
import random
from contextlib import AsyncExitStack
from statistics import median

from posthouse.client import Client, Runtime
from posthouse.kit.clock import Clock
from posthouse.load.backend import Backend
from posthouse.load.bench.crowd import Crowd
from posthouse.load.bench.passes import Passes
from posthouse.load.bench.venue import SQLITE, venue
from posthouse.testing.servers import LocalServer

READER = "reader"
WINDOW = 2_000
WRITERS = tuple(f"writer-{number}" for number in range(10))


async def listing(
    database: str = SQLITE, *, conversations: int = 500, entries: int = 100_000, runs: int = 10
) -> dict[str, object]:
    """Run the benchmark; see docs/benchmarks.md for what the keys mean."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(venue(database))
        runtime = await stack.enter_async_context(Runtime())
        backend = Backend(server.url, server.secrets.api_key, runtime)
        creating = (backend.create_group(f"list-{n}", [READER, _writer(n)]) for n in range(conversations))
        await asyncio.gather(*creating)
        await _write(server, conversations, entries)
        connects, lists, items = [], [], 0
        for number in range(runs):
            connect_s, list_s, items = await _look(server, runtime, f"phone-{number}")
            connects.append(connect_s)
            lists.append(list_s)
    return {
        "list_ms": round(median(lists) * 1000, 2),
        "list_ms_max": round(max(lists) * 1000, 2),
        "connect_and_list_ms": round(median(connects) * 1000, 2),
        "conversations": items,
        "entries": entries,
        "runs": runs,
    }


def _writer(conv: int) -> str:
    """Who fills a conversation: the reader's only partner there."""
    return WRITERS[conv % len(WRITERS)]


async def _write(server: LocalServer, conversations: int, entries: int) -> None:
    """Fill the histories, in random order."""
    crowd, chance = Crowd(), random.Random(0)
    await crowd.connect(server.url, str(server.data), WRITERS)
    try:
        for number in range(entries):
            conv = chance.randrange(conversations)
            posted = crowd.clients[_writer(conv)].post(f"list-{conv}", f"This is message {number}.")
            if number % WINDOW == WINDOW - 1:
                await posted.acked
        await asyncio.gather(*(client.flush() for client in crowd.clients.values()))
    finally:
        await crowd.close()


async def _look(server: LocalServer, runtime: Runtime, device: str) -> tuple[float, float, int]:
    """Seconds from the start of a new client until it knows its conversations, seconds to ask again, and how many."""
    clock: Clock = runtime.clock
    token = Passes(server.data, clock).token(READER)
    begun = clock.monotonic()
    async with Client(server.url, token=token, device=device, runtime=runtime) as client:
        connect_s = clock.monotonic() - begun
        begun = clock.monotonic()
        items = [summary async for summary in client.conversations()]
        return connect_s, clock.monotonic() - begun, len(items)
