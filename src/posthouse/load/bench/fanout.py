"""Fan-out: one group, everybody online, messages at a fixed rate; the server's CPU per delivery beside a bare loop's.

The bare loop has the same clients and writes frames of the same size at the same rate; both run in turns.
"""

import asyncio
from contextlib import AsyncExitStack
from functools import reduce
from statistics import median
from typing import Final, NamedTuple

import msgspec

from posthouse.load.backend import Backend
from posthouse.load.bench import bare_fanout
from posthouse.load.bench.crowd import Crowd
from posthouse.load.bench.fanout_cluster import fanout_cluster
from posthouse.load.bench.latencies import Latencies, sum_of
from posthouse.load.bench.listeners import CONV, Listeners
from posthouse.load.bench.measuring import cpu_s
from posthouse.load.bench.stamp import stamped
from posthouse.load.bench.venue import SQLITE, venue
from posthouse.load.bench.worker import Worker, call_all
from posthouse.testing.history import Verdict
from posthouse.testing.servers import LocalServer

SENDER: Final = "sender"
HALLS: Final = ("real", "bare")
WORKERS: Final = 2
STILL_S: Final = 10.0
POLL_S: Final = 0.1


class Turn(NamedTuple):
    """One run of one server."""

    cpu_us_per_delivery: float
    deliveries_per_s: float


class Fanout:
    """The benchmark with its processes at hand."""

    def __init__(self, server: LocalServer, bare: Worker, workers: list[Worker], members: int) -> None:
        self._server = server
        self._bare = bare
        self._workers = workers
        self._users = [f"listener-{number}" for number in range(members)]
        self._crowd = Crowd()
        self._clock = self._crowd.runtime.clock

    async def open(self) -> None:
        """Make the group, and let everybody into both halls."""
        backend = Backend(self._server.url, self._server.secrets.api_key, self._crowd.runtime)
        await backend.create_group(CONV, [SENDER, *self._users])
        await self._crowd.connect(self._server.url, str(self._server.data), [SENDER])
        port = await self._bare.call("listen", conv=CONV)
        await self._enter("real", self._server.url)
        await self._enter("bare", f"ws://127.0.0.1:{port}")

    async def close(self) -> None:
        """Close the client of this process."""
        await self._crowd.close()

    async def turn(self, hall: str, messages: int, per_s: float) -> Turn:
        """Send so many messages, wait until all are delivered, and see what that took."""
        pid = self._server.pid if hall == "real" else self._bare.pid
        wanted = await self._deliveries(hall) + messages * len(self._users)
        begun, cpu_before_s = self._clock.monotonic(), cpu_s(pid)
        await (self._send_real if hall == "real" else self._send_bare)(messages, per_s)
        await self._wait_deliveries(hall, wanted)
        seconds, used_s = self._clock.monotonic() - begun, cpu_s(pid) - cpu_before_s
        deliveries = messages * len(self._users)
        return Turn(used_s * 1e6 / deliveries, deliveries / seconds)

    async def latencies(self, hall: str) -> Latencies:
        """Of all listeners, since the last call."""
        counts = await call_all(self._workers, "latencies", hall=hall)
        return sum_of(Latencies({int(us): count for us, count in each.items()}) for each in counts)

    async def judge(self) -> Verdict:
        """The checker's verdict on everything delivered by the real server."""
        told = {"hall": "real", "address": self._server.url, "api_key": self._server.secrets.api_key}
        verdicts = await call_all(self._workers, "judge", **told)
        return reduce(Verdict.plus, (msgspec.convert(each, Verdict) for each in verdicts))

    async def _enter(self, hall: str, address: str) -> None:
        folder = str(self._server.data)
        parts = [self._users[number :: len(self._workers)] for number in range(len(self._workers))]
        calls = zip(self._workers, parts, strict=True)
        await asyncio.gather(
            *(
                worker.call("enter", hall=hall, address=address, folder=folder, users=part)
                for worker, part in calls
            )
        )

    async def _send_real(self, messages: int, per_s: float) -> None:
        sender = self._crowd.clients[SENDER]
        begun = self._clock.monotonic()
        for number in range(messages):
            await self._clock.sleep(begun + number / per_s - self._clock.monotonic())
            sender.post(CONV, stamped(self._clock.monotonic()))
        await sender.flush()

    async def _send_bare(self, messages: int, per_s: float) -> None:
        await self._bare.call("send", messages=messages, per_s=per_s, sender=SENDER)

    async def _deliveries(self, hall: str) -> int:
        return sum(await call_all(self._workers, "deliveries", hall=hall))

    async def _wait_deliveries(self, hall: str, wanted: int) -> None:
        """Until all is delivered, or nothing more comes: then the verdict will say what is lost."""
        seen, since = -1, 0.0
        while (now := self._clock.monotonic()) and (deliveries := await self._deliveries(hall)) < wanted:
            if deliveries != seen:
                seen, since = deliveries, now
            elif now - since > STILL_S:
                return
            await self._clock.sleep(POLL_S)


async def fanout(
    database: str = SQLITE,
    *,
    cluster: bool = False,
    members: int = 2_000,
    per_s: float = 25.0,
    seconds: float = 10.0,
    runs: int = 3,
) -> dict[str, object]:
    """Run the benchmark; see docs/benchmarks.md for what the keys mean. `cluster`: three nodes beside one."""
    if cluster:
        return await fanout_cluster(members, per_s, seconds, runs)
    messages = round(per_s * seconds)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(venue(database))
        bare = await stack.enter_async_context(Worker(f"{bare_fanout.__name__}:BareFanout"))
        workers = [
            await stack.enter_async_context(Worker(f"{Listeners.__module__}:Listeners"))
            for _ in range(WORKERS)
        ]
        bench = Fanout(server, bare, workers, members)
        stack.push_async_callback(bench.close)
        await bench.open()
        for hall in HALLS:
            await bench.turn(hall, round(per_s), per_s)  # warm up
            await bench.latencies(hall)
        turns = {hall: [] for hall in HALLS}  # type: dict[str, list[Turn]]
        for _ in range(runs):
            for hall in HALLS:
                turns[hall].append(await bench.turn(hall, messages, per_s))
        latencies = {hall: await bench.latencies(hall) for hall in HALLS}
        verdict = await bench.judge()
    return _result(turns, latencies, verdict) | {"members": members, "offered_per_s": per_s, "runs": runs}


def _result(
    turns: dict[str, list[Turn]], latencies: dict[str, Latencies], verdict: Verdict
) -> dict[str, object]:
    real, raw = (median(turn.cpu_us_per_delivery for turn in turns[hall]) for hall in HALLS)
    ratios = [
        mine.cpu_us_per_delivery / its.cpu_us_per_delivery for mine, its in zip(*turns.values(), strict=True)
    ]
    return {
        "deliveries_per_s": round(median(turn.deliveries_per_s for turn in turns["real"])),
        "server_cpu_us_per_delivery": round(real, 3),
        "raw_cpu_us_per_delivery": round(raw, 3),
        "ratio_to_raw": round(median(ratios), 3),
        "p50_ms": latencies["real"].percentile_ms(0.5),
        "p99_ms": latencies["real"].percentile_ms(0.99),
        "raw_p50_ms": latencies["bare"].percentile_ms(0.5),
        "raw_p99_ms": latencies["bare"].percentile_ms(0.99),
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "reordered": verdict.reordered,
        "contradicted": verdict.contradicted,
        "breaches": [breach.reason for breach in verdict.breaches],
    }
