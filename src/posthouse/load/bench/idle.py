"""Idle: sessions that do nothing, of users who have many conversations; the server's memory for each of them."""

from contextlib import AsyncExitStack

from posthouse.client import Runtime
from posthouse.load.bench import bare_connections, guests
from posthouse.load.bench.household import SETTLE_S, Household
from posthouse.load.bench.measuring import pss_kib
from posthouse.load.bench.venue import SQLITE, venue
from posthouse.load.bench.worker import Worker, call_all

WORKERS = 2


async def idle(
    database: str = SQLITE, *, sessions: int = 10_000, conversations: int = 20
) -> dict[str, object]:
    """Run the benchmark; see docs/benchmarks.md for what the keys mean."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(venue(database))
        runtime = await stack.enter_async_context(Runtime())
        workers = [
            await stack.enter_async_context(Worker(f"{guests.__name__}:Guests")) for _ in range(WORKERS)
        ]
        house = Household(server, workers, runtime, sessions)
        await house.furnish(conversations)
        before = pss_kib(server.pid)
        begun = runtime.clock.monotonic()
        await house.enter()
        seconds = runtime.clock.monotonic() - begun - SETTLE_S
        after = pss_kib(server.pid)
        entered = await house.backend.metric("posthouse_sessions")
        bare = await _bare_kib(stack, workers, runtime, len(house.users))
    return {
        "pss_kib_per_session": round((after - before) / len(house.users), 2),
        "bare_connection_kib": round(bare, 2),
        "sessions": round(entered),
        "conversations": conversations,
        "pss_kib_before": before,
        "pss_kib_after": after,
        "sessions_per_s": round(len(house.users) / seconds),
    }


async def _bare_kib(stack: AsyncExitStack, workers: list[Worker], runtime: Runtime, sockets: int) -> float:
    """KiB for each of as many connections to the same listener, without sessions."""
    bare = await stack.enter_async_context(Worker(f"{bare_connections.__name__}:BareConnections"))
    url = f"ws://127.0.0.1:{await bare.call('listen')}/v1/ws"
    before = pss_kib(bare.pid)
    await call_all(workers, "enter_bare", url=url, sockets=sockets // len(workers))
    await runtime.clock.sleep(SETTLE_S)
    return (pss_kib(bare.pid) - before) / (sockets // len(workers) * len(workers))
