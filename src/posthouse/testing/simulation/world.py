"""One story under one seed: a cluster starts, people talk while things break, everything heals, and what was promised
is checked.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from zlib import crc32

import msgspec

from posthouse.app.secrets import Credentials
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey
from posthouse.auth.tokens import TokenIssuer
from posthouse.client.endpoints import LIST_PATH
from posthouse.client.errors import RequestFailed
from posthouse.client.http import Answer
from posthouse.client.runtime import Runtime
from posthouse.client.transport import ConnectFailed, Receiver, Transport
from posthouse.gateway.websocket import SocketHandler
from posthouse.kit.virtual import VirtualClock, VirtualLoop
from posthouse.model.conversation import Kind as ConversationKind, Role
from posthouse.model.entry import CREATED, Entry
from posthouse.storage.base import Append, Create, Refused
from posthouse.testing.history import History, Verdict
from posthouse.testing.simulation import links
from posthouse.testing.simulation.cache import Cache
from posthouse.testing.simulation.database import Database
from posthouse.testing.simulation.faults import STORY_S, Fault, Kind, Places, draw
from posthouse.testing.simulation.network import Host, Network, Unreachable
from posthouse.testing.simulation.nodes import SimulatedNode
from posthouse.testing.simulation.people import Person

APP = "sim"
NODES = ("node-1", "node-2", "node-3")
DATABASES = ("database-a", "database-b")
USERS = ("ann", "bob", "cho", "dee", "eve")
DEVICES = (*((user, "phone") for user in USERS), ("ann", "desk"))
SENDS = 40
ENDPOINTS_TTL_S = 10.0
SETTLE_S_MAX = 120.0
"""So long after everything has healed all must be as promised; virtual seconds."""
SKEW_MS_MAX = 120_000
_SECRET = "simulated secrets are no secrets"  # noqa: S105 - signs nothing outside of a simulation


@dataclass(slots=True)
class Story:
    """How one seed went. `failures` is empty when every promise held."""

    seed: int
    verdict: Verdict = field(default_factory=Verdict)
    faults: Sequence[Fault] = ()
    failures: list[str] = field(default_factory=list)
    trace: int = 0
    """A digest of everything that happened: the same seed always gives the same."""
    seconds: float = 0.0


class World:
    """Everything there is."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.rng = random.Random(seed)
        self.clock = VirtualClock(loop)
        self.network = Network(self.clock, self._random())
        self.databases = {
            name: Database(name, self.network, self._random(), self.clock) for name in DATABASES
        }
        self.cache = Cache(self.network, self._random(), self.clock)
        self.keys = _keys()
        self.nodes = {
            name: SimulatedNode(name, self.network, self.databases, self.cache, self.keys, self._random())
            for name in NODES
        }
        self.histories: dict[str, History] = {}
        self.people: list[Person] = []
        self.trace = 0

    def _random(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))

    # The story ------------------------------------------------------------------------------------------------------

    async def play(self, story: Story) -> None:
        """From the first start to the verdict."""
        for node in self.nodes.values():
            node.skew_ms = self.rng.choice((0, 0, self.rng.randint(-SKEW_MS_MAX, SKEW_MS_MAX)))
            node.start()
        await self._create_conversations()
        for device in DEVICES:
            await self._add_person(*device)
        story.faults = draw(self._random(), self._places())
        for fault in story.faults:
            self.network.tasks.spawn(str(fault), self._happen(fault))
        for person in self.people:
            convs = [conv for conv, users in _CONVERSATIONS.items() if person.device[0] in users]
            self.network.tasks.spawn("talk", person.talk(convs, self._random(), SENDS, STORY_S))
        await self.clock.sleep(STORY_S + 1.0)
        await self._heal()
        await self._settle(story)
        await self._judge(story)

    async def _create_conversations(self) -> None:
        for conv, users in _CONVERSATIONS.items():
            members = tuple((user, Role.MEMBER) for user in users)
            create = Append(
                app=APP,
                conv=conv,
                kind=CREATED,
                client_id=f"create {conv}",
                made_at_ms=0,
                body=b"{}",
                change=Create(kind=ConversationKind.GROUP, members=members),
                trusted=True,
            )
            await self._append(create)
            self.histories[conv] = History(conv)

    async def _append(self, append: Append) -> None:
        """As an application's back end does: at any node, again until it is done."""
        while True:
            parts = self.nodes[self.rng.choice(NODES)].parts
            if parts is not None and not isinstance(await parts.append(append), Refused):
                return
            await self.clock.sleep(0.5)

    async def _add_person(self, user: str, device: str) -> None:
        host = self.network.start(f"{user}-{device}")
        runtime = Runtime(
            clock=host.clock,
            rng=self._random(),
            connect=_Connector(self, host),
            http=_Http(self, host),  # type: ignore[arg-type]
        )
        token = TokenIssuer(self.keys.apps).issue(
            APP, user, now_s=self.clock.now_ms() // 1000 - 3600, ttl_s=80_000
        )
        person = Person(host, runtime, "http://node-1", token, (user, device), self.histories, self.note)
        self.people.append(person)
        await person.start()

    # Faults ---------------------------------------------------------------------------------------------------------

    def _places(self) -> Places:
        clients = [person.host.name for person in self.people]
        return Places(NODES, clients, DATABASES, self.cache.NAME)

    async def _happen(self, fault: Fault) -> None:
        await self.clock.sleep(fault.at_s)
        self.note(str(fault))
        await self._begin(fault)
        await self.clock.sleep(fault.lasts_s)
        await self._end(fault)

    async def _begin(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.CRASH_NODE:
                await self.nodes[fault.target].crash()
            case Kind.FREEZE_NODE:
                self.nodes[fault.target].host.freeze()
            case Kind.DRAIN_NODE:
                await self.nodes[fault.target].stop()
            case Kind.CRASH_CACHE:
                self.cache.crash()
            case Kind.WIPE_CACHE:
                self.cache.wipe()
            case Kind.CRASH_PRIMARY:
                self.databases[fault.target].crash(self.databases[fault.target].primary)
            case Kind.CRASH_STANDBY:
                self.databases[fault.target].crash(self.databases[fault.target].standby)
            case Kind.SLOW_COMMITS:
                self.databases[fault.target].slow_commit_s = 1.0
            case Kind.CUT:
                self.network.cut(fault.target, fault.other)
            case Kind.SLOW_NETWORK:
                self.network.slow[fault.target] = 1.0
            case Kind.RESET_LINKS:
                self.network.reset(fault.target)
            case Kind.LOSSY_BUS:
                self.cache.lost_share, self.cache.doubled_share = 0.4, 0.2

    async def _end(self, fault: Fault) -> None:
        match fault.kind:
            case Kind.CRASH_NODE | Kind.DRAIN_NODE if not self.nodes[fault.target].host.alive:
                self.nodes[fault.target].start()
            case Kind.FREEZE_NODE:
                self.nodes[fault.target].host.thaw()
            case Kind.CRASH_CACHE if not self.cache.host.alive:
                self.cache.restart()
            case Kind.CRASH_PRIMARY | Kind.CRASH_STANDBY:
                self._restart_machines(self.databases[fault.target])
            case Kind.SLOW_COMMITS:
                self.databases[fault.target].slow_commit_s = 0.0
            case Kind.CUT:
                self.network.mend(fault.target, fault.other)
            case Kind.SLOW_NETWORK:
                self.network.slow.pop(fault.target, None)
            case Kind.LOSSY_BUS:
                self.cache.lost_share = self.cache.doubled_share = 0.0

    async def _heal(self) -> None:
        """Whatever still lasts ends now."""
        self.network.heal()
        self.network.slow.clear()
        self.cache.lost_share = self.cache.doubled_share = 0.0
        for database in self.databases.values():
            database.slow_commit_s = 0.0
            self._restart_machines(database)
        if not self.cache.host.alive:
            self.cache.restart()
        for node in self.nodes.values():
            node.host.thaw()
            if not node.host.alive:
                node.start()

    def _restart_machines(self, database: Database) -> None:
        for name, machine in database.machines.items():
            if not machine.host.alive:
                database.restart(name)

    # The end --------------------------------------------------------------------------------------------------------

    async def _settle(self, story: Story) -> None:
        """Everybody's sends come to an end, and everybody sees everything, in bounded time."""
        waited_s = 0.0
        while unfinished := self._unfinished():
            if waited_s >= SETTLE_S_MAX:
                story.failures.append(f"{SETTLE_S_MAX:g} s after everything healed: {'; '.join(unfinished)}")
                return
            await self.clock.sleep(0.5)
            waited_s += 0.5

    def _unfinished(self) -> list[str]:
        away = [f"{conv} cannot be read" for conv in self.histories if not self.entries(conv)]
        waiting = [
            f"{person.device} waits for {person.unsettled} acks" for person in self.people if person.unsettled
        ]
        lagging = [
            f"{reader.name} lacks entries of {conv}"
            for conv, history in self.histories.items()
            for reader in history.lagging(self.entries(conv))
        ]
        return away + waiting + lagging

    async def _judge(self, story: Story) -> None:
        for person in self.people:
            person.tell()
        for conv, history in self.histories.items():
            verdict = history.check(self.entries(conv))
            story.verdict = story.verdict.plus(verdict)
        story.failures += [
            f"{breach.promise} {breach.conv} {breach.seq}: {breach.reason}"
            for breach in story.verdict.breaches
        ]
        if not story.verdict.holds and not story.failures:
            story.failures.append(str(story.verdict))
        story.trace = self.trace

    async def end(self) -> None:
        """Everybody leaves, and everything stops."""
        for person in self.people:
            await person.close()
        for node in self.nodes.values():
            await node.crash()
        await self.network.tasks.close()

    def entries(self, conv: str) -> list[Entry]:
        """A log as it stands in its database."""
        holders = [each.tables for each in self.databases.values() if (APP, conv) in each.tables.logs]
        if not holders:
            return []  # its database is recovering
        page = holders[0].read(APP, conv, None, 0, None, 1_000_000, 1 << 40)
        assert not isinstance(page, Refused)
        return list(page.entries)

    def note(self, what: str) -> None:
        """Something happened: it becomes part of the trace."""
        self.trace = crc32(f"{self.clock.monotonic():.6f} {what}".encode(), self.trace)


_CONVERSATIONS = {
    "all": USERS,
    "pair": ("ann", "bob"),
    "three": ("bob", "cho", "dee"),
    "four": ("ann", "cho", "dee", "eve"),
}


class _Connector:
    """How a simulated client opens its connection."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    async def __call__(self, url: str, receiver: Receiver, tls: object) -> Transport:
        name = urlsplit(url).netloc
        node = self._world.nodes[name]

        def accept(end: links.ServerEnd) -> SocketHandler:
            try:
                return node.accept(end)
            except ConnectionRefusedError as error:
                raise ConnectFailed(str(error)) from None

        return await links.connect(  # type: ignore[return-value]  # in the place of a Transport
            self._world.network, self._host, name, accept, receiver
        )


class _Http:
    """The REST API as far as simulated clients use it: the list of endpoints."""

    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    async def ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        """The answer of the node that the URL names. Raises `RequestFailed`."""
        parts = urlsplit(url)
        if parts.path != LIST_PATH:
            raise RequestFailed(f"{url} is not simulated")
        node = self._world.nodes[parts.netloc]

        async def work() -> Answer:
            listed = node.endpoints()
            return Answer(
                200 if listed else 503, msgspec.json.encode({"endpoints": listed, "ttl_s": ENDPOINTS_TTL_S})
            )

        try:
            return await self._world.network.call_within(2.0, self._host, node.name, work)
        except Unreachable as error:
            raise RequestFailed(str(error)) from None

    async def close(self) -> None:
        """Nothing is held."""


def _keys() -> Credentials:
    key = SigningKey(kid="k", algorithm=Algorithm.HS256, secret=_SECRET)
    return Credentials(apps={APP: AppKeys(signing=(key,), api_key_hashes=())}, resume_secret=_SECRET)


def simulate(seed: int, story: Story | None = None) -> Story:
    """Play one seed on a loop of its own; `story` is what it is told in."""
    story = story or Story(seed)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_simulate(story))
    return story


async def _simulate(story: Story) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    world = World(story.seed, loop)
    await world.play(story)
    story.seconds = loop.elapsed
    await world.end()
