"""Where a chaos run takes place: a local cluster, the clients in worker processes, and what is done to it.

Belongs to one event loop. Times are seconds on the machine's monotonic clock.
"""

import asyncio
import random
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Literal, NamedTuple, Self

import msgspec

from posthouse.api.operating import Events
from posthouse.app.config.values import Config
from posthouse.app.secrets import DEFAULT_APP
from posthouse.auth.operators import operator_key
from posthouse.client import Runtime
from posthouse.cluster.shard_map import dealt
from posthouse.load.backend import Backend
from posthouse.load.bench.population import groups
from posthouse.load.bench.worker import Worker, call_all
from posthouse.load.chaos import crew
from posthouse.load.chaos.content import real_log
from posthouse.load.chaos.crew import Second, Standing
from posthouse.load.chaos.recording import Mark
from posthouse.storage.append import SHARDS
from posthouse.testing.history import Verdict
from posthouse.testing.playground.cluster import Cluster
from posthouse.testing.playground.part import State
from posthouse.testing.playground.plan import ClusterStatus, Refused, read_plan

WORKERS = 2
GROUP_SIZE = 15
GROUPS_PER_DATABASE = 2
"""Of each client, so that every client has steady traffic in every database."""
CLIENTS_STEP = WORKERS * GROUP_SIZE
WARM_UP_S = 8.0
HEALTHY_TIMEOUT_S = 150.0
SETTLE_TIMEOUT_S = 60.0
POLL_S = 0.25
EVENTS_MAX = 2_000

Kind = Literal["fault", "repair", "note"]


class Load(NamedTuple):
    """What the clients do: `clients` of them, posting `rate` messages a second together. `seed`: of what is random."""

    rate: float = 500.0
    clients: int = 300
    seed: int = 0


class CommandFailed(RuntimeError):
    """A command ended with an error; the message holds what it said."""


class NotHealthy(RuntimeError):
    """The cluster did not become whole again; the message says what is missing."""


class Site:
    """One run: from the clients' entering to the judgement on what they saw."""

    def __init__(self, cluster: Cluster, load: Load, run: str) -> None:
        self.cluster = cluster
        self.load = load
        self.run = run
        self.marks: list[tuple[float, Mark]] = []
        self.breaches: list[str] = []
        self.scopes: dict[str, str] = {}
        """The database of each conversation, when they were begun."""
        self._stack = AsyncExitStack()
        self._workers: list[Worker] = []
        self._runtime = Runtime()
        self._clock = self._runtime.clock

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._runtime)
        for _ in range(WORKERS):
            worker = Worker(f"{crew.__name__}:Crew")
            self._workers.append(await self._stack.enter_async_context(worker))
            await worker.call("go_first")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def now(self) -> float:
        """Seconds on the machine's monotonic clock."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await self._clock.sleep(seconds)

    # The clients

    async def enter(self, *, through_balancer: bool = False) -> None:
        """Make the groups, and let everybody in: directly, or at first through the balancer."""
        status = await self.status()
        databases, log = databases_of(status), real_log()
        users = [f"{self.run}-{number}" for number in range(self.load.clients)]
        backend = Backend(status.address, self.cluster.secrets.api_key, self._runtime)
        parts = [users[at :: len(self._workers)] for at in range(len(self._workers))]
        formed = [self._formed(part, number, databases) for number, part in enumerate(parts)]
        creating = (backend.create_group(conv, members) for own in formed for conv, members in own.items())
        await asyncio.gather(*creating)
        entering = (
            worker.call(
                "enter",
                address=status.address,
                folder=str(self.cluster.folder),
                convs=_by_user(part, own),
                through=status.address if through_balancer else "",
                log=str(log) if log is not None else "",
                seed=self.load.seed + number,
            )
            for number, (worker, part, own) in enumerate(zip(self._workers, parts, formed, strict=True))
        )
        await asyncio.gather(*entering)

    async def talk(self) -> None:
        """Let them talk, until it runs evenly."""
        await call_all(self._workers, "talk", per_s=self.load.rate / len(self._workers))
        await self.sleep(WARM_UP_S)
        await self.watch()

    async def hush(self) -> None:
        """Let them end; what is not acknowledged after a while breaks a promise."""
        left = sum(await call_all(self._workers, "hush", timeout_s=SETTLE_TIMEOUT_S))
        if left:
            self.breaches.append(
                f"{left} sends were not answered {SETTLE_TIMEOUT_S:g} s after the last of them."
            )

    async def judge(self) -> Verdict:
        """What the history checker says of everything that was sent and seen."""
        told = {"address": (await self.status()).address, "api_key": self.cluster.secrets.api_key}
        verdict = Verdict()
        for each in await call_all(self._workers, "judge", **told):
            verdict = verdict.plus(msgspec.convert(each, Verdict))
        return verdict

    async def standings(self) -> Standing:
        """How all clients stand."""
        found = [msgspec.convert(each, Standing) for each in await call_all(self._workers, "standing")]
        nodes: dict[str, int] = {}
        for each in found:
            for node, sessions in each.nodes.items():
                nodes[node] = nodes.get(node, 0) + sessions
        return Standing(
            clients=sum(each.clients for each in found),
            connected=sum(each.connected for each in found),
            unacknowledged=sum(each.unacknowledged for each in found),
            failed=sum(each.failed for each in found),
            nodes=nodes,
            endings=dict(sum((Counter(each.endings) for each in found), Counter[str]())),
            moved={user: times for each in found for user, times in each.moved.items()},
            last_connected_at=max(each.last_connected_at for each in found),
            late_s=max(each.late_s for each in found),
        )

    async def watch(self) -> None:
        """Count reconnections from now on."""
        await call_all(self._workers, "watch")

    async def cut_off(self) -> int:
        """Break every client's connection at once; how many there were."""
        self.note("all clients are cut off", "fault")
        return sum(await call_all(self._workers, "cut_off"))

    async def back(self, since: float) -> list[float]:
        """How long after `since` each client had a session again; those that have none count as until now."""
        answers = await call_all(self._workers, "back", since=since, never=self.now() - since)
        return [back for each in answers for back in each]

    async def pauses(self, since: float, until: float, scope: str = "") -> list[float]:
        """Every client's longest time without a delivery. `scope`: only of one database's conversations, or of one."""
        asked = {"since": since, "until": until, "convs": self._convs_of(scope)}
        answers = await call_all(self._workers, "pauses", **asked)
        return [pause for each in answers for pause in each]

    async def waits(self, since: float, until: float, scope: str = "") -> list[float]:
        """How long every client's slowest send waited for its ack in that time."""
        asked = {"since": since, "until": until, "convs": self._convs_of(scope)}
        return [wait for each in await call_all(self._workers, "waits", **asked) for wait in each]

    async def acks(self, since: float, until: float, scope: str = "") -> int:
        """How many sends were acknowledged in that time."""
        asked = {"since": since, "until": until, "convs": self._convs_of(scope)}
        return sum(await call_all(self._workers, "acks", **asked))

    async def refusals(self, since: float, until: float) -> int:
        """How many times sends were refused for now in that time, by whole seconds."""
        seconds = (item for worker in await self.seconds() for item in worker.items())
        return sum(seen.refused for second, seen in seconds if since <= second <= until)

    async def seconds(self) -> list[dict[int, Second]]:
        """What each worker saw in each second."""
        answers = await call_all(self._workers, "seconds")
        return [msgspec.convert(each, dict[int, Second], strict=False) for each in answers]

    # The cluster

    async def status(self) -> ClusterStatus:
        """How the cluster is."""
        return await asyncio.to_thread(self.cluster.status)

    async def do(self, verb: str, what: str, kind: Kind = "fault", **how: Any) -> str:
        """Do something to the cluster, noting when it was begun; the names it was done to."""
        begun = self.now()
        names = ", ".join(await asyncio.to_thread(lambda: self.cluster.act(verb, what, **how)))
        said = "".join(
            [
                f" from {' and '.join(how['others'])}" if "others" in how else "",
                f", {_WAYS[how['way']]}" if how.get("way") in _WAYS else "",
            ]
        )
        self.note(f"{_PAST.get(verb, verb)}: {names or what}{said}", kind, begun)
        return names

    def note(self, what: str, kind: Kind, at: float | None = None) -> None:
        """Mark a moment of the timeline: now, unless it is told."""
        self.marks.append((self.now() if at is None else at, Mark(0.0, what, kind)))

    async def transactions(self) -> float:
        """How many transactions all primaries have finished."""
        answer = await asyncio.to_thread(self.cluster.ask, "transactions")
        return answer.numbers["transactions"]

    async def run_command(self, *arguments: str) -> str:
        """Run `posthouse` with these arguments; what it wrote. Raises `CommandFailed`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "posthouse"),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise CommandFailed(f"posthouse {' '.join(arguments)}: {output.decode().strip()}")
        return output.decode()

    async def repair(self, verb: str, what: str) -> None:
        """As `do`, for what mends; where nothing is to be mended, nothing is done."""
        try:
            await self.do(verb, what, "repair")
        except Refused:
            return

    async def healthy(self) -> None:
        """Until every server is well. Raises `NotHealthy`."""
        give_up_at = self.now() + HEALTHY_TIMEOUT_S
        while True:
            status = await self.status()
            unwell = [part for part in status.parts if not part.healthy or part.state is not State.RUNNING]
            if not unwell:
                return
            if self.now() > give_up_at:
                found = ", ".join(f"{part.name} ({part.state} {part.detail})" for part in unwell)
                raise NotHealthy(f"not whole after {HEALTHY_TIMEOUT_S:g} s: {found}")
            await self.sleep(POLL_S)

    async def events(self, since: float) -> list[tuple[float, str]]:
        """What the nodes have decided and seen since then, oldest first: when, and `kind subject: why`.

        Nodes with a wrong clock are not asked.
        """
        headers = {"X-Operator-Key": operator_key(self.cluster.secrets.resume_secret)}
        begun_ms = self._clock.now_ms() - round((self.now() - since) * 1000)
        wrong = read_plan(self.cluster.folder).clocks
        told: dict[tuple[str, int, int], tuple[float, str]] = {}
        for part in (await self.status()).parts:
            if part.group == "node" and part.healthy and part.name not in wrong:
                port = part.address.rpartition(":")[2]
                url = f"http://127.0.0.1:{port}/v1/cluster/events?limit={EVENTS_MAX}"
                answer = await self._runtime.http.ask("GET", url, headers)
                for each in msgspec.json.decode(answer.body, type=Events).events:
                    if each.at_ms >= begun_ms and each.node not in wrong:
                        said = f"{each.kind} {each.subject}: {each.why}"
                        at = since + (each.at_ms - begun_ms) / 1000
                        told[each.node, each.incarnation, each.number] = (at, said)
        return sorted(told.values())

    # Inside

    def _convs_of(self, scope: str) -> list[str] | None:
        """Of one database, or the one named; None: all."""
        return (
            [conv for conv, database in self.scopes.items() if scope in (conv, database)] if scope else None
        )

    def _formed(self, users: list[str], number: int, databases: list[str]) -> dict[str, list[str]]:
        """Groups by id with their members, so many in each database."""
        shards = dealt(databases, SHARDS)
        formed: dict[str, list[str]] = {}
        for at, database in enumerate(databases):
            chance = random.Random(at)
            for n, members in enumerate(groups(users, GROUP_SIZE, GROUPS_PER_DATABASE, chance)):
                names = (f"{self.run}-{number}-{database}-{n}-{salt}" for salt in range(10_000))
                conv = next(name for name in names if shards.owner(DEFAULT_APP, name) == database)
                formed[conv], self.scopes[conv] = members, database
        return formed


_PAST = {
    "kill": "killed", "start": "started", "stop": "stopped", "pause": "frozen", "resume": "thawed", "cut": "cut off",
    "heal": "healed", "slow": "slow network", "reset": "all connections reset", "half-open": "connections half open",
    "hang": "one worker hangs", "upgrade": "upgraded", "slow-disk": "slow disk", "mend-disk": "disk mended",
    "fill-disk": "disk full", "free-disk": "room on the disk",
}  # fmt: skip

_WAYS = {"in": "nothing reaches it", "out": "nothing it says arrives"}


def databases_of(status: ClusterStatus) -> list[str]:
    """The databases as the nodes know them: one, while nodes of this version can have only one."""
    names = sorted(
        {part.group.removeprefix("database-") for part in status.parts if part.group.startswith("database")}
    )
    return names if "databases" in Config.__struct_fields__ else names[:1]


def _by_user(users: list[str], formed: dict[str, list[str]]) -> dict[str, list[str]]:
    convs: dict[str, list[str]] = {user: [] for user in users}
    for conv, members in formed.items():
        for user in members:
            convs[user].append(conv)
    return convs
