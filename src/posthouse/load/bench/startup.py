"""Start-up: from starting the process to the first answer that it is ready, on new data and on data that is there."""

from statistics import median

from posthouse.kit.clock import Clock, SystemClock
from posthouse.load.bench.venue import RAISED, SQLITE, database_url
from posthouse.testing.servers import LocalServer


async def startup(database: str = SQLITE, *, runs: int = 5) -> dict[str, object]:
    """Run the benchmark; see docs/benchmarks.md for what the keys mean."""
    clock = SystemClock()
    with database_url(database) as url, LocalServer(database=url, settings=RAISED) as server:
        server.stop()
        again = [_start_s(server, clock) for _ in range(runs)]
    fresh = []
    for _ in range(runs):
        with database_url(database) as url:
            server = LocalServer(database=url, settings=RAISED)
            try:
                fresh.append(_start_s(server, clock))
            finally:
                server.close()
    return {
        "ready_s": round(median(again), 3),
        "ready_s_max": round(max(again), 3),
        "first_ready_s": round(median(fresh), 3),
        "runs": runs,
    }


def _start_s(server: LocalServer, clock: Clock) -> float:
    """Seconds from starting the process until it says that it is ready."""
    begun = clock.monotonic()
    server.start()
    seconds = clock.monotonic() - begun
    server.stop()
    return seconds
