"""Fan-out over three nodes beside one: the same group, at the same rate, on the same PostgreSQL; CPU per delivery.

Everybody stays at the node they were given, and all messages are sent at the first. What the cache uses is counted too.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import reduce
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import msgspec

from posthouse.app.secrets import FILE, load_or_create
from posthouse.load.backend import Backend
from posthouse.load.bench.crowd import Crowd
from posthouse.load.bench.latencies import Latencies, sum_of
from posthouse.load.bench.listeners import CONV, Listeners
from posthouse.load.bench.measuring import cpu_s
from posthouse.load.bench.stamp import stamped
from posthouse.load.bench.venue import RAISED
from posthouse.load.bench.worker import Worker, call_all
from posthouse.testing.history import Verdict
from posthouse.testing.postgres import LocalPostgres
from posthouse.testing.servers import LocalServer
from posthouse.testing.valkey import LocalValkey

SENDER: Final = "sender"
WORKERS: Final = 2
STILL_S: Final = 10.0
POLL_S: Final = 0.1
NODES: Final = 3
CALM_S: Final = 4.0
"""After so long every node knows of every other, and none asks the database by itself any more."""


class Turn(NamedTuple):
    """One run at one place: CPU of the nodes and of the cache, per delivery."""

    nodes_us: float
    cache_us: float
    deliveries_per_s: float

    @property
    def us(self) -> float:
        """Both together."""
        return self.nodes_us + self.cache_us


class Place:
    """Nodes that are one service, and the group's listeners spread evenly over them."""

    def __init__(
        self, name: str, nodes: Sequence[LocalServer], cache: LocalValkey | None, workers: list[Worker]
    ) -> None:
        self.name = name
        self.turns: list[Turn] = []
        self._nodes = nodes
        self._cache = cache
        self._workers = workers
        self._crowd = Crowd()
        self._clock = self._crowd.runtime.clock
        self._members = 0

    async def open(self, members: int) -> None:
        """Make the group, let everybody in, and wait until the nodes have settled."""
        self._members = members
        users = [f"listener-{number}" for number in range(members)]
        first = self._nodes[0]
        await Backend(first.url, first.secrets.api_key, self._crowd.runtime).create_group(
            CONV, [SENDER, *users]
        )
        await self._crowd.connect(_socket(first), str(first.data), [SENDER])
        for number, node in enumerate(self._nodes):
            own = users[number :: len(self._nodes)]
            parts = [own[worker :: len(self._workers)] for worker in range(len(self._workers))]
            told = {"hall": self.name, "address": _socket(node), "folder": str(node.data)}
            calls = zip(self._workers, parts, strict=True)
            await asyncio.gather(*(worker.call("enter", users=part, **told) for worker, part in calls))
        await self._clock.sleep(CALM_S)

    async def close(self) -> None:
        """Close the sender."""
        await self._crowd.close()

    async def turn(self, messages: int, per_s: float) -> Turn:
        """Send so many messages, wait until all are delivered, and see what that took."""
        deliveries = messages * self._members
        wanted = await self._deliveries() + deliveries
        begun, nodes_before_s, cache_before_s = self._clock.monotonic(), self._nodes_s(), self._cache_s()
        await self._send(messages, per_s)
        await self._wait(wanted)
        seconds = self._clock.monotonic() - begun
        nodes_s, cache_s = self._nodes_s() - nodes_before_s, self._cache_s() - cache_before_s
        return Turn(nodes_s * 1e6 / deliveries, cache_s * 1e6 / deliveries, deliveries / seconds)

    async def latencies(self) -> Latencies:
        """Of all listeners, since the last call."""
        counts = await call_all(self._workers, "latencies", hall=self.name)
        return sum_of(Latencies({int(us): count for us, count in each.items()}) for each in counts)

    async def judge(self) -> Verdict:
        """The checker's verdict."""
        first = self._nodes[0]
        told = {"hall": self.name, "address": first.url, "api_key": first.secrets.api_key}
        verdicts = await call_all(self._workers, "judge", **told)
        return reduce(Verdict.plus, (msgspec.convert(each, Verdict) for each in verdicts))

    async def _send(self, messages: int, per_s: float) -> None:
        sender, begun = self._crowd.clients[SENDER], self._clock.monotonic()
        for number in range(messages):
            await self._clock.sleep(begun + number / per_s - self._clock.monotonic())
            sender.post(CONV, stamped(self._clock.monotonic()))
        await sender.flush()

    async def _deliveries(self) -> int:
        return sum(await call_all(self._workers, "deliveries", hall=self.name))

    async def _wait(self, wanted: int) -> None:
        seen, since = -1, 0.0
        while (now := self._clock.monotonic()) and (deliveries := await self._deliveries()) < wanted:
            if deliveries != seen:
                seen, since = deliveries, now
            elif now - since > STILL_S:
                return
            await self._clock.sleep(POLL_S)

    def _nodes_s(self) -> float:
        return sum(cpu_s(node.pid) for node in self._nodes)

    def _cache_s(self) -> float:
        return cpu_s(self._cache.pid) if self._cache is not None else 0.0


async def fanout_cluster(members: int, per_s: float, seconds: float, runs: int) -> dict[str, object]:
    """Run the benchmark; see docs/benchmarks.md for what the keys mean."""
    messages = round(per_s * seconds)
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(LocalPostgres())
        workers = [
            await stack.enter_async_context(Worker(f"{Listeners.__module__}:Listeners"))
            for _ in range(WORKERS)
        ]
        alone = stack.enter_context(LocalServer(database=postgres.create_database("one"), settings=RAISED))
        cache = stack.enter_context(LocalValkey())
        nodes = stack.enter_context(_nodes(postgres.create_database("three"), cache))
        places = [Place("one", [alone], None, workers), Place("three", nodes, cache, workers)]
        for place in places:
            stack.push_async_callback(place.close)
            await place.open(members)
            await place.turn(round(per_s), per_s)  # warm up
            await place.latencies()
        for _ in range(runs):
            for place in places:
                place.turns.append(await place.turn(messages, per_s))
        latencies = {place.name: await place.latencies() for place in places}
        verdict = (await places[0].judge()).plus(await places[1].judge())
    return _result(places[0], places[1], latencies, verdict) | {
        "members": members,
        "offered_per_s": per_s,
        "runs": runs,
    }


@contextlib.contextmanager
def _nodes(database: str, cache: LocalValkey) -> Iterator[list[LocalServer]]:
    """Nodes that share a database, a cache and their keys."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posthouse-bench-")))
        load_or_create(folder)
        nodes = []
        for number in range(1, NODES + 1):
            own = {"cache.url": cache.url, "node.name": f"n{number}", "rebalance.automatic": "false"}
            node = LocalServer(folder / f"n{number}", database=database, settings=RAISED | own)
            node.data.mkdir(parents=True)
            shutil.copy(folder / FILE, node.data / FILE)
            nodes.append(stack.enter_context(node))
        yield nodes


def _socket(node: LocalServer) -> str:
    """The address of one endpoint: its clients look for no other."""
    return f"{node.url.replace('http', 'ws', 1)}/v1/ws"


def _result(one: Place, three: Place, latencies: dict[str, Latencies], verdict: Verdict) -> dict[str, object]:
    ratios = [theirs.us / its.us for its, theirs in zip(one.turns, three.turns, strict=True)]
    return {
        "deliveries_per_s": round(median(turn.deliveries_per_s for turn in three.turns)),
        "nodes": NODES,
        "nodes_cpu_us_per_delivery": round(median(turn.nodes_us for turn in three.turns), 3),
        "cache_cpu_us_per_delivery": round(median(turn.cache_us for turn in three.turns), 3),
        "one_node_cpu_us_per_delivery": round(median(turn.us for turn in one.turns), 3),
        "ratio_to_one_node": round(median(ratios), 3),
        "p50_ms": latencies["three"].percentile_ms(0.5),
        "p99_ms": latencies["three"].percentile_ms(0.99),
        "one_node_p50_ms": latencies["one"].percentile_ms(0.5),
        "one_node_p99_ms": latencies["one"].percentile_ms(0.99),
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "reordered": verdict.reordered,
        "contradicted": verdict.contradicted,
        "breaches": [breach.reason for breach in verdict.breaches],
    }
