"""Storm: the server is killed with thousands of sessions connected, and all come back as the SDK does by itself."""

from contextlib import AsyncExitStack

from posthouse.client import Runtime
from posthouse.load.bench import guests
from posthouse.load.bench.household import Household
from posthouse.load.bench.measuring import cpu_s
from posthouse.load.bench.venue import SQLITE, venue
from posthouse.load.bench.worker import Worker, call_all

WORKERS = 2
POLL_S = 0.1
GIVE_UP_S = 120.0


async def storm(
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
        start_cpu_s = cpu_s(server.pid)
        await house.enter()
        await call_all(workers, "watch")
        killed_at = runtime.clock.monotonic()
        await house.restart()
        ready_at = runtime.clock.monotonic()
        seen = await _wait_back(workers, runtime, len(house.users))
        used_cpu_s = cpu_s(server.pid) - start_cpu_s
        loads = await house.backend.metric("posthouse_loads_total")
    resumed = round(sum(each["resumed"] for each in seen))
    return {
        "seconds_until_last_resumed": round(max(each["last_at"] for each in seen) - killed_at, 3),
        "seconds_until_ready": round(ready_at - killed_at, 3),
        "attempts_per_client": round(sum(each["attempts"] for each in seen) / len(house.users), 3),
        "queries_per_resume": round(loads / resumed, 4) if resumed else None,
        "server_cpu_ms_per_resume": round(used_cpu_s * 1000 / resumed, 3) if resumed else None,
        "sessions": len(house.users),
        "resumed": resumed,
        "started_afresh": round(sum(each["started_afresh"] for each in seen)),
        "conversations": conversations,
    }


async def _wait_back(workers: list[Worker], runtime: Runtime, users: int) -> list[dict[str, float]]:
    """Until everybody has a session again; what was seen until then."""
    give_up_at = runtime.clock.monotonic() + GIVE_UP_S
    while True:
        seen: list[dict[str, float]] = await call_all(workers, "seen")
        back = sum(each["resumed"] + each["started_afresh"] for each in seen)
        if back >= users or runtime.clock.monotonic() > give_up_at:
            return seen
        await runtime.clock.sleep(POLL_S)
