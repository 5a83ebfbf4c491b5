"""The clients of a chaos run, in a worker process: they talk and receive all the time, and note what they see.

They are SDK clients as applications use them, with its defaults. Times are on the machine's monotonic clock, which all
processes of the machine share.
"""

import asyncio
import ssl
from collections import Counter
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from posthouse.client import Client, Connected, Disconnected, EntryReceived, Posted, Runtime, SendFailed, Sent
from posthouse.client.transport import Receiver, Transport, connect
from posthouse.kit.tasks import Tasks
from posthouse.load.backend import Backend
from posthouse.load.bench.latencies import Latencies
from posthouse.load.bench.passes import Passes
from posthouse.load.bench.stamp import stamp_of, stamped
from posthouse.load.chaos.content import sentences
from posthouse.load.chaos.pauses import pause_s, wait_s
from posthouse.load.priority import go_first
from posthouse.model.entry import MESSAGE
from posthouse.testing.history import History, Verdict

DEVICE = "crew"
CONNECTING_MAX = 50
CONNECT_TIMEOUT_S = 60.0
OUTBOX_MESSAGES_MAX = 100_000
STILL_S = 20.0
ENDINGS_MAX = 20
POLL_S = 0.1
LATE_S_MAX = 0.5
"""A talker that was kept from its work does not make up for more than this in a burst."""
SAMPLE = 4
"""Of so many entries one counts for latencies."""


class Second(msgspec.Struct):
    """What happened in one second."""

    acked: int = 0
    delivered: int = 0
    latency_us: dict[int, int] = {}
    refused: int = 0
    connected: int = 0


class Standing(msgspec.Struct):
    """How the clients stand now. `nodes`: sessions by node. `moved`: reconnections by user since `watch`.

    `endings`: why connections ended or did not come about since then, in the clients' words, the most frequent ones.
    `late_s`: how far behind their time messages were posted since then, at worst.
    """

    clients: int
    connected: int
    unacknowledged: int
    failed: int
    nodes: dict[str, int]
    moved: dict[str, int]
    endings: dict[str, int]
    last_connected_at: float
    late_s: float


class Crew:
    """A worker's subject."""

    def __init__(self) -> None:
        self._runtime = Runtime(connect=self._connect)
        self._clock = self._runtime.clock
        self._tasks = Tasks(self._clock)
        self._connecting = asyncio.Semaphore(CONNECTING_MAX)
        self._clients: dict[str, Client] = {}
        self._convs: dict[str, list[str]] = {}
        self._histories: dict[str, History] = {}
        self._deliveries: dict[tuple[str, str], list[float]] = {}
        self._sends: dict[tuple[str, str], list[tuple[float, float]]] = {}
        """By user and conversation: when a send was posted, and when it was acknowledged."""
        self._unanswered: dict[tuple[str, str], tuple[str, float]] = {}
        """By user and client_id: the conversation, and when it was posted."""
        self._sentences = [""]
        self._sockets: list[tuple[Transport, Receiver]] = []
        self._seconds: dict[int, Second] = {}
        self._latencies: dict[int, Latencies] = {}
        self._node_of: dict[str, str] = {}
        self._moved: Counter[str] = Counter()
        self._endings: Counter[str] = Counter()
        self._through = ""
        self._connected_at: dict[str, float] = {}
        self._failed = self._retries = 0
        self._talking = False
        self._late_s = 0.0

    async def close(self) -> None:
        """End all clients."""
        await self._tasks.close()
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        await self._runtime.close()

    async def go_first(self) -> None:
        """Have this process run before the cluster's: what clients see is to be what the cluster does."""
        go_first()

    async def enter(
        self,
        address: str,
        folder: str,
        convs: dict[str, list[str]],
        through: str = "",
        log: str = "",
        seed: int = 0,
    ) -> None:
        """Connect a client for each user, each in its conversations. What they will say is in the chat log `log`.

        `through`: the first connections go through this balancer, wherever the client chose to go: as those do that
        know no other address yet.
        """
        self._through = urlsplit(through).netloc
        passes = Passes(Path(folder), self._clock)
        self._convs |= convs
        self._sentences = sentences(Path(log) if log else None, seed)
        for conv in {conv for own in convs.values() for conv in own}:
            self._histories.setdefault(conv, History(conv, knows_all=True))
        entering = [self._enter(user, address, passes.token(user)) for user in convs]
        self._tasks.supervise("seconds", self._count_connected)
        await asyncio.gather(*entering)
        self._through = ""

    async def talk(self, per_s: float) -> None:
        """From now on post so many messages a second, evenly spread, whatever becomes of them."""
        self._talking = True
        self._tasks.spawn("talk", self._talk(per_s))

    async def hush(self, timeout_s: float) -> int:
        """Post no more, and wait until all is acknowledged; how many are not after `timeout_s`."""
        self._talking = False
        give_up_at = self._clock.monotonic() + timeout_s
        while self._unanswered and self._clock.monotonic() < give_up_at:
            await self._clock.sleep(POLL_S)
        return len(self._unanswered)

    async def watch(self) -> None:
        """Count reconnections from now on."""
        self._moved.clear()
        self._endings.clear()
        self._late_s = 0.0

    async def standing(self) -> Standing:
        """How the clients stand."""
        return Standing(
            clients=len(self._clients),
            connected=sum(client.connected for client in self._clients.values()),
            unacknowledged=len(self._unanswered),
            failed=self._failed,
            nodes=dict(
                Counter(self._node_of[user] for user, client in self._clients.items() if client.connected)
            ),
            moved=dict(self._moved),
            endings=dict(self._endings.most_common(ENDINGS_MAX)),
            last_connected_at=max(self._connected_at.values(), default=0.0),
            late_s=self._late_s,
        )

    async def cut_off(self) -> int:
        """Break every client's connection at once, as a network that fails would; how many there were."""
        standing = [(socket, receiver) for socket, receiver in self._sockets if not socket.gone]
        for socket, receiver in standing:
            socket.abort()
            receiver.lost(socket, 0, "cut off")
        return len(standing)

    async def back(self, since: float, never: float) -> list[float]:
        """How long after `since` each client's latest session began; `never` where it began before."""
        began = [self._connected_at.get(user, 0.0) - since for user in self._clients]
        return [after if after > 0 else never for after in began]

    async def pauses(self, since: float, until: float, convs: list[str] | None) -> list[float]:
        """Every client's longest time without a delivery, of some conversations or (None) of all."""
        wanted = set(convs if convs is not None else self._histories)
        streams: dict[str, list[float]] = {}
        for (user, conv), times in self._deliveries.items():
            if conv in wanted:
                streams.setdefault(user, []).extend(times)
        return [pause_s(sorted(times), since, until) for times in streams.values()]

    async def waits(self, since: float, until: float, convs: list[str] | None) -> list[float]:
        """How long each client's slowest send waited for its ack, between `since` and `until`."""
        waiting: dict[str, list[tuple[float, float]]] = {}
        for (user, conv), sends in self._sends.items():
            if convs is None or conv in convs:
                waiting.setdefault(user, []).extend(sends)
        for (user, _), (conv, posted_at) in self._unanswered.items():
            if convs is None or conv in convs:
                waiting.setdefault(user, []).append((posted_at, until))
        return [wait_s(waiting.get(user, ()), since, until) for user in self._clients]

    async def acks(self, since: float, until: float, convs: list[str] | None) -> int:
        """How many sends were acknowledged between `since` and `until`."""
        return sum(
            since < acked_at <= until
            for (_, conv), sends in self._sends.items()
            if convs is None or conv in convs
            for _, acked_at in sends
        )

    async def seconds(self) -> dict[int, Second]:
        """What happened in each second of the monotonic clock."""
        for second, latencies in self._latencies.items():
            self._at(second).latency_us = dict(latencies.counts)
        return self._seconds

    async def judge(self, address: str, api_key: str) -> Verdict:
        """The history checker's verdict on all conversations, as these clients have seen them."""
        backend = Backend(address, api_key, self._runtime)
        verdict = Verdict()
        for conv, history in self._histories.items():
            log = await backend.log(conv)
            give_up_at = self._clock.monotonic() + STILL_S
            while history.lagging(log) and self._clock.monotonic() < give_up_at:
                await self._clock.sleep(POLL_S)
            verdict = verdict.plus(history.check(log))
        return verdict

    # Inside

    async def _connect(self, url: str, receiver: Receiver, tls: ssl.SSLContext | None) -> Transport:
        if self._through:
            url = urlunsplit(urlsplit(url)._replace(netloc=self._through))
        socket = await connect(url, receiver, tls)
        if len(self._sockets) > 2 * len(self._clients):
            self._sockets = [each for each in self._sockets if not each[0].gone]
        self._sockets.append((socket, receiver))
        return socket

    async def _enter(self, user: str, address: str, token: str) -> None:
        client = self._clients[user] = Client(
            address,
            token=token,
            device=DEVICE,
            runtime=self._runtime,
            outbox_messages_max=OUTBOX_MESSAGES_MAX,
            catch_up="all",
        )
        client.on(EntryReceived)(self._taker(user))
        client.on(Connected)(partial(self._connected, user))
        client.on(Disconnected)(self._disconnected)
        client.on(SendFailed)(self._send_failed)
        async with self._connecting:
            await client.start()
            await client.wait_connected(CONNECT_TIMEOUT_S)

    def _taker(self, user: str) -> Any:
        readers = {conv: self._histories[conv].reader(user, user).see for conv in self._convs[user]}
        times = {conv: self._deliveries.setdefault((user, conv), []) for conv in self._convs[user]}

        def take(event: EntryReceived) -> None:
            entry = event.entry
            readers[entry.conv](entry)
            if event.own or entry.kind != MESSAGE:
                return
            now = self._clock.monotonic()
            times[entry.conv].append(now)
            self._at(int(now)).delivered += 1
            if entry.seq % SAMPLE == 0:
                self._latencies.setdefault(int(now), Latencies()).add(now - stamp_of(entry.body))

        return take

    def _connected(self, user: str, event: Connected) -> None:
        before = self._node_of.get(user)
        self._node_of[user] = event.node
        if before is not None:
            self._moved[user] += 1
        self._connected_at[user] = self._clock.monotonic()

    def _disconnected(self, event: Disconnected) -> None:
        self._endings[f"{event.code} {event.reason}"] += 1

    def _send_failed(self, _event: SendFailed) -> None:
        self._failed += 1

    async def _talk(self, per_s: float) -> None:
        """In one conversation after the other, so that each has a steady beat; its members take turns."""
        members: dict[str, list[str]] = {}
        for user, convs in self._convs.items():
            for conv in convs:
                members.setdefault(conv, []).append(user)
        turns = list(members.items())
        due = self._clock.monotonic()
        for number in count():
            if not self._talking:
                return
            conv, users = turns[number % len(turns)]
            self._post(
                users[number // len(turns) % len(users)], conv, self._sentences[number % len(self._sentences)]
            )
            late_s = self._clock.monotonic() - due
            self._late_s = max(self._late_s, late_s)
            due += max(1 / per_s, late_s - LATE_S_MAX)
            await self._clock.sleep(due - self._clock.monotonic())

    def _post(self, user: str, conv: str, text: str) -> None:
        now = self._clock.monotonic()
        content = stamped(now) | {"text": text}
        posted = self._clients[user].post(conv, content)
        self._histories[conv].sent((user, DEVICE), posted.client_id, msgspec.json.encode(content))
        self._unanswered[user, posted.client_id] = (conv, now)
        posted.acked.add_done_callback(partial(self._answered, user, posted))

    def _answered(self, user: str, posted: Posted, answer: "asyncio.Future[Sent]") -> None:
        posted_at = self._unanswered.pop((user, posted.client_id))[1]
        if answer.cancelled():
            return
        history = self._histories[posted.conv]
        if answer.exception() is not None:
            history.refused((user, DEVICE), posted.client_id)
            return
        now = self._clock.monotonic()
        history.acked((user, DEVICE), posted.client_id, answer.result().seq)
        self._sends.setdefault((user, posted.conv), []).append((posted_at, now))
        self._at(int(now)).acked += 1

    async def _count_connected(self) -> None:
        while True:
            await self._clock.sleep(1.0)
            second = self._at(int(self._clock.monotonic()))
            statistics = [client.statistics() for client in self._clients.values()]
            second.connected = sum(each.state == "live" for each in statistics)
            retries = sum(each.retries for each in statistics)
            second.refused, self._retries = retries - self._retries, retries

    def _at(self, second: int) -> Second:
        found = self._seconds.get(second)
        if found is None:
            found = self._seconds[second] = Second()
        return found
