"""Sending: everybody talks in many small conversations, cursors on; acknowledged sends beside bare batched inserts.

First as fast as the server allows, with a fixed number of sends in flight, then at half that rate. Every conversation
is checked from every reader's side.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from functools import partial, reduce
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec

from posthouse.client import Client, EntryReceived, Posted, Runtime, Sent
from posthouse.kit.tasks import Tasks
from posthouse.load.backend import Backend
from posthouse.load.bench.bare_insert import bare_inserts_per_s
from posthouse.load.bench.crowd import DEVICE, Crowd
from posthouse.load.bench.latencies import Latencies, sum_of
from posthouse.load.bench.measuring import cpu_s, fsyncs
from posthouse.load.bench.population import groups
from posthouse.load.bench.stamp import stamp_of, stamped
from posthouse.load.bench.venue import CLUSTER, SQLITE, venue
from posthouse.load.bench.worker import Worker, call_all
from posthouse.model.entry import MESSAGE
from posthouse.testing.history import History, Verdict
from posthouse.testing.servers import LocalServer

WORKERS: Final = 2
GROUP_SIZE: Final = 5
READ_INTERVAL_S: Final = 1.0
"""How often each user marks what came as read."""
SAMPLE: Final = 4
"""Of so many entries one counts for the latencies, of its acknowledgement and of its deliveries."""
STILL_S: Final = 10.0
POLL_S: Final = 0.1


class Counts(msgspec.Struct):
    """What one worker has seen in one phase. `settled`: also what was acknowledged before and after the counting."""

    acked: int
    settled: int
    ack_us: dict[int, int]
    deliver_us: dict[int, int]


class Talkers:
    """A worker's subject: users who talk, read, and mark what they read."""

    def __init__(self) -> None:
        self._crowd = Crowd()
        self._runtime = self._crowd.runtime
        self._clock = self._runtime.clock
        self._chance = random.Random(0)
        self._histories: dict[str, History] = {}
        self._convs: dict[str, list[str]] = {}
        self._unread: dict[str, dict[str, int]] = {}
        self._tasks = Tasks(self._clock)
        self._acked = self._settled = 0
        self._acks = Latencies()
        self._deliveries = Latencies()
        self._talking = False
        self._in_flight = 0

    async def close(self) -> None:
        """End all clients."""
        await self._tasks.close()
        await self._crowd.close()

    async def enter(self, address: str, folder: str, convs: dict[str, list[str]]) -> None:
        """Connect users; `convs` says which conversations each is in."""
        self._convs = convs
        for conv in {conv for own in convs.values() for conv in own}:
            self._histories[conv] = History(conv)
        await self._crowd.connect(
            address, folder, convs, prepare=self._listen, device=DEVICE, from_joining=True
        )

        self._tasks.spawn("reading", self._read())

    async def saturate(self, seconds: float, window: int) -> Counts:
        """Keep `window` sends of each user in flight for so long; counts what is acknowledged meanwhile."""
        before = self._settled
        self._talking = True
        for user in self._crowd.clients:
            for _ in range(window):
                self._talk(user)
        await self._clock.sleep(seconds / 4)  # until it runs evenly
        self._take_counts()
        await self._clock.sleep(seconds * 3 / 4)
        counts = self._take_counts()
        self._talking = False
        await self._settle()
        counts.settled = self._settled - before
        return counts

    async def offer(self, seconds: float, per_s: float) -> Counts:
        """Send so many a second, evenly spread, whatever is answered."""
        await self._settle()
        self._take_counts()
        users = list(self._crowd.clients)
        begun = self._clock.monotonic()
        for number in range(round(seconds * per_s)):
            wait_s = begun + number / per_s - self._clock.monotonic()
            if wait_s > 0:
                await self._clock.sleep(wait_s)
            self._talk(users[number % len(users)])
        await self._settle()
        await self._clock.sleep(POLL_S)
        return self._take_counts()

    async def judge(self, address: str, api_key: str) -> Verdict:
        """The checker's verdict on all conversations, as this worker's users have seen them."""
        backend = Backend(address, api_key, self._runtime)
        verdict = Verdict()
        for conv, history in self._histories.items():
            log = await backend.log(conv)
            give_up_at = self._clock.monotonic() + STILL_S
            while history.lagging(log) and self._clock.monotonic() < give_up_at:
                await self._clock.sleep(POLL_S)
            verdict = verdict.plus(history.check(log))
        return verdict

    def _listen(self, user: str, client: Client) -> None:
        readers = {conv: self._histories[conv].reader(user, user).see for conv in self._convs[user]}
        unread: dict[str, int] = {}
        self._unread[user] = unread

        def take(event: EntryReceived) -> None:
            entry = event.entry
            conv, seq = entry.conv, entry.seq
            readers[conv](entry)
            if not event.own and entry.kind == MESSAGE:
                unread[conv] = seq
                if seq % SAMPLE == 0:
                    self._deliveries.add(self._clock.monotonic() - stamp_of(entry.body))

        client.on(EntryReceived)(take)

    async def _read(self) -> None:
        """Users look at what came once a second, one after the other."""
        while True:
            for user, unread in self._unread.items():
                client = self._crowd.clients[user]
                for conv, seq in unread.items():
                    client.mark_read(conv, seq)
                unread.clear()
                await self._clock.sleep(READ_INTERVAL_S / len(self._unread))

    def _talk(self, user: str) -> None:
        now = self._clock.monotonic()
        convs = self._convs[user]
        conv = convs[int(self._chance.random() * len(convs))]
        posted = self._crowd.clients[user].post(conv, stamped(now))
        self._histories[conv].sent((user, DEVICE), posted.client_id)
        self._in_flight += 1
        posted.acked.add_done_callback(partial(self._answered, user, posted, now))

    def _answered(self, user: str, posted: Posted, begun: float, answer: asyncio.Future[Sent]) -> None:
        self._in_flight -= 1
        self._acked += 1
        self._settled += 1
        seq = answer.result().seq
        if seq % SAMPLE == 0:
            self._acks.add(self._clock.monotonic() - begun)
        self._histories[posted.conv].acked((user, DEVICE), posted.client_id, seq)
        if self._talking:
            self._talk(user)

    def _take_counts(self) -> Counts:
        counts = Counts(self._acked, self._acked, self._acks.counts, self._deliveries.counts)
        self._acked, self._acks, self._deliveries = 0, Latencies(), Latencies()
        return counts

    async def _settle(self) -> None:
        while self._in_flight:
            await self._clock.sleep(POLL_S)


class Phase(NamedTuple):
    """One phase as all workers have seen it."""

    acked: int
    settled: int
    acks: Latencies
    deliveries: Latencies


class Run(NamedTuple):
    """One run of everything. CPU is of the first phase, over all sends acknowledged in it."""

    raw_insert_per_s: float
    acked_per_s: float
    server_cpu_us: float
    clients_cpu_us: float
    saturated: Phase
    half: Phase
    fsyncs: Latencies


async def send(
    database: str = SQLITE,
    *,
    cluster: bool = False,
    senders: int = 200,
    conversations: int = 1_000,
    seconds: float = 8.0,
    window: int = 16,
    runs: int = 3,
) -> dict[str, object]:
    """Run the benchmark; see docs/benchmarks.md for what the keys mean. `cluster`: with a synchronous replica."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(venue(CLUSTER if cluster else database))
        workers = [await stack.enter_async_context(Worker(f"{__name__}:Talkers")) for _ in range(WORKERS)]
        runtime = await stack.enter_async_context(Runtime())
        await _open(server, workers, senders, conversations, runtime)
        done = [await _run(server, workers, conversations, seconds, window, runtime) for _ in range(runs)]
        told = {"address": server.url, "api_key": server.secrets.api_key}
        verdicts = await call_all(workers, "judge", **told)
    verdict = reduce(Verdict.plus, (msgspec.convert(each, Verdict) for each in verdicts))
    return _result(done, verdict) | {"senders": senders, "conversations": conversations, "runs": runs}


async def _open(
    server: LocalServer, workers: list[Worker], senders: int, conversations: int, runtime: Runtime
) -> None:
    """Make the conversations, and let everybody in."""
    users = [f"talker-{number}" for number in range(senders)]
    rounds = conversations * GROUP_SIZE // senders
    formed = groups(users, GROUP_SIZE, rounds, random.Random(0))
    backend = Backend(server.url, server.secrets.api_key, runtime)
    creating = (backend.create_group(f"send-{number}", members) for number, members in enumerate(formed))
    await asyncio.gather(*creating)
    convs: dict[str, list[str]] = {user: [] for user in users}
    for number, members in enumerate(formed):
        for user in members:
            convs[user].append(f"send-{number}")
    parts = [dict(list(convs.items())[at :: len(workers)]) for at in range(len(workers))]
    entering = (
        worker.call("enter", address=server.url, folder=str(server.data), convs=part)
        for worker, part in zip(workers, parts, strict=True)
    )
    await asyncio.gather(*entering)


async def _run(
    server: LocalServer,
    workers: list[Worker],
    conversations: int,
    seconds: float,
    window: int,
    runtime: Runtime,
) -> Run:
    clock = runtime.clock
    with TemporaryDirectory(dir=server.folder) as folder:
        body = msgspec.json.encode(stamped(clock.monotonic()))
        raw = await bare_inserts_per_s(server.database, Path(folder), conversations, body, seconds / 2, clock)
    server_before_s, clients_before_s = cpu_s(server.pid), sum(cpu_s(worker.pid) for worker in workers)
    saturated = await _phase(workers, "saturate", seconds=seconds, window=window)
    server_us = (cpu_s(server.pid) - server_before_s) * 1e6 / saturated.settled
    clients_us = (sum(cpu_s(worker.pid) for worker in workers) - clients_before_s) * 1e6 / saturated.settled
    acked_per_s = saturated.acked / (seconds * 3 / 4)
    half, synced = await asyncio.gather(
        _phase(workers, "offer", seconds=seconds, per_s=acked_per_s / 2 / len(workers)),
        fsyncs(server.folder, seconds, clock),
    )
    return Run(raw, acked_per_s, server_us, clients_us, saturated, half, synced)


async def _phase(workers: list[Worker], method: str, **arguments: float) -> Phase:
    counts = [
        msgspec.convert(each, Counts, strict=False) for each in await call_all(workers, method, **arguments)
    ]
    return Phase(
        acked=sum(each.acked for each in counts),
        settled=sum(each.settled for each in counts),
        acks=sum_of(Latencies(each.ack_us) for each in counts),
        deliveries=sum_of(Latencies(each.deliver_us) for each in counts),
    )


def _result(runs: list[Run], verdict: Verdict) -> dict[str, object]:
    half_acks = sum_of(run.half.acks for run in runs)
    half_deliveries = sum_of(run.half.deliveries for run in runs)
    saturated_acks = sum_of(run.saturated.acks for run in runs)
    synced = sum_of(run.fsyncs for run in runs)
    return {
        "acked_per_s": round(median(run.acked_per_s for run in runs)),
        "raw_insert_per_s": round(median(run.raw_insert_per_s for run in runs)),
        "ratio_to_raw": round(median(run.acked_per_s / run.raw_insert_per_s for run in runs), 3),
        "server_cpu_us_per_send": round(median(run.server_cpu_us for run in runs), 1),
        "clients_cpu_us_per_send": round(median(run.clients_cpu_us for run in runs), 1),
        "fsync_p50_ms": synced.percentile_ms(0.5),
        "fsync_p99_ms": synced.percentile_ms(0.99),
        "ack_p50_ms": half_acks.percentile_ms(0.5),
        "ack_p99_ms": half_acks.percentile_ms(0.99),
        "deliver_p50_ms": half_deliveries.percentile_ms(0.5),
        "deliver_p99_ms": half_deliveries.percentile_ms(0.99),
        "deliver_p99_ms_max": round(10 * synced.percentile_ms(0.99) + 10, 3),
        "saturated_ack_p50_ms": saturated_acks.percentile_ms(0.5),
        "saturated_ack_p99_ms": saturated_acks.percentile_ms(0.99),
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "reordered": verdict.reordered,
        "contradicted": verdict.contradicted,
        "unanswered": verdict.unanswered,
        "breaches": [breach.reason for breach in verdict.breaches],
    }
