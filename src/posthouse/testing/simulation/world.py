"""One story under one seed: a cluster starts, people talk while things break, everything heals, and what was promised
is checked.
"""

import asyncio
import random
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from posthouse.app.secrets import Credentials
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey
from posthouse.auth.tokens import TokenIssuer
from posthouse.client.runtime import Runtime
from posthouse.kit.tasks import start
from posthouse.kit.virtual import VirtualClock, VirtualLoop
from posthouse.model.conversation import Kind as ConversationKind, Role
from posthouse.model.entry import CREATED, Entry
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Action, action_of
from posthouse.storage.base import Append, Create, Outcome, Refused
from posthouse.testing.history import Device, History, Verdict, visible
from posthouse.testing.simulation.breaking import Breaking
from posthouse.testing.simulation.cache import Cache
from posthouse.testing.simulation.changes import Change, draw_changes
from posthouse.testing.simulation.database import Database
from posthouse.testing.simulation.faults import STORY_S, Fault, Kind, Places, draw
from posthouse.testing.simulation.network import Host, Network
from posthouse.testing.simulation.nodes import SimulatedNode
from posthouse.testing.simulation.people import Person
from posthouse.testing.simulation.reaching import Connector, Http
from posthouse.testing.simulation.trial import Trial, draw_trial, moments

APP = "sim"
NODES = ("node-1", "node-2", "node-3")
NEWCOMERS = ("node-4",)
DATABASES = ("database-a", "database-b")
USERS = ("ann", "bob", "cho", "dee", "eve")
DEVICES = (*((user, "phone") for user in USERS), ("ann", "desk"))
CONVERSATIONS = {
    "all": USERS,
    "pair": ("ann", "bob"),
    "three": ("bob", "cho", "dee"),
    "open": ("ann", "dee", "eve"),
}
CHANGING = ("three", "open")
"""Conversations that people join and leave."""
SENDS = 40
SETTLE_S_MAX = 120.0
"""So long after everything has healed all must be as promised; virtual seconds."""
BACK_END_S_MAX = 5.0
"""So long the application's back end waits for an answer before it asks again, elsewhere."""
SKEW_MS_MAX = 120_000
_SECRET = "simulated secrets are no secrets"  # noqa: S105 - signs nothing outside of a simulation
_MEMORY = Path("/dev/shm")  # noqa: S108 - only a folder without a disk, where there is one


@dataclass(slots=True)
class Story:
    """How one seed went. `failures` is empty when every promise held."""

    seed: int
    verdict: Verdict = field(default_factory=Verdict)
    faults: Sequence[Fault] = ()
    changes: Sequence[Change] = ()
    failures: list[str] = field(default_factory=list)
    trial: Trial | None = None
    trace: int = 0
    """A digest of everything that happened: the same seed always gives the same."""
    seconds: float = 0.0

    def broke_off(self, error: BaseException) -> None:
        """It did not come to its end."""
        self.failures.append(f"it broke off: {error!r} {_where(error)}")


class World:
    """Everything there is. `folder` is for the stores of applications that will be killed."""

    def __init__(self, seed: int, loop: VirtualLoop, folder: Path) -> None:
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
            for name in (*NODES, *NEWCOMERS)
        }
        self.histories = {conv: History(conv, knows_all=True) for conv in CONVERSATIONS}
        self.people: dict[str, Person] = {}
        self.breaking = Breaking(self.network, self.nodes, self.databases, self.cache, self.people, APP)
        self.changes_done = 0
        self.beginning = 0
        """Faults that take their time to happen, and are at it."""
        self.healings = 0
        self.trace = 0
        self._folder = folder

    def _random(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))

    # The story ------------------------------------------------------------------------------------------------------

    async def play(self, story: Story) -> None:
        """From the first start to the verdict."""
        for node in self.nodes.values():
            node.skew_ms = self.rng.choice((0, 0, self.rng.randint(-SKEW_MS_MAX, SKEW_MS_MAX)))
        for name in NODES:
            self.nodes[name].start()
        await self._create_conversations()
        story.faults = draw(self._random(), _places())
        story.changes = draw_changes(
            self._random(), {conv: CONVERSATIONS[conv] for conv in CHANGING}, USERS, STORY_S
        )
        killed = {fault.target for fault in story.faults if fault.kind is Kind.KILL_CLIENT}
        for device in DEVICES:
            await self._add_person(device, killed)
        for fault in story.faults:
            self.network.tasks.spawn(str(fault), self._happen(fault, 0))
        self.network.tasks.spawn("changes", self._change(story.changes))
        for person in self.people.values():
            rng = self._random()
            when = sorted(rng.uniform(0.0, STORY_S) for _ in range(SENDS))
            self.network.tasks.spawn("talk", person.talk(self.clock, rng, when))
        await self.clock.sleep(STORY_S + 1.0)
        await self._heal()
        await self._settle(story)
        if not story.failures:
            await self._try(story)
        await self._judge(story)

    async def _create_conversations(self) -> None:
        for conv, users in CONVERSATIONS.items():
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

    async def _append(self, append: Append) -> None:
        """As an application's back end does: at any node, again until it is done."""
        while True:
            parts = self.nodes[self.rng.choice(NODES)].parts
            outcome: Outcome | None = None
            with suppress(TimeoutError):  # a node that dies says nothing
                async with asyncio.timeout(BACK_END_S_MAX):
                    outcome = await parts.append(append) if parts is not None else None
            if outcome is not None and not (isinstance(outcome, Refused) and _for_now(outcome)):
                return
            await self.clock.sleep(0.5)

    async def _add_person(self, device: Device, killed: set[str]) -> None:
        name, rng = "-".join(device), self._random()

        def begin() -> tuple[Host, Runtime]:
            host = self.network.start(name)
            connect, http = Connector(self.network, self.nodes, host), Http(self.network, self.nodes, host)
            own = random.Random(rng.getrandbits(64))
            return host, Runtime(clock=host.clock, rng=own, connect=connect, http=http)  # type: ignore[arg-type]

        now_s = self.clock.now_ms() // 1000
        token = TokenIssuer(self.keys.apps).issue(APP, device[0], now_s=now_s - 3600, ttl_s=80_000)
        store = self._folder / name if name in killed else None
        person = Person(device, token, "http://node-1", begin, self.histories, self.note, store)
        self.people[name] = person
        for conv in CONVERSATIONS:
            person.follow(conv)
        await person.start([conv for conv, users in CONVERSATIONS.items() if device[0] in users])

    async def _happen(self, fault: Fault, healings: int) -> None:
        """What has not begun or ended when all is healed does not do so any more."""
        await self.clock.sleep(fault.at_s)
        if self.healings > healings:
            return
        self.note(str(fault))
        self.beginning += 1
        await self.breaking.begin(fault)
        self.beginning -= 1
        await self.clock.sleep(fault.lasts_s)
        if self.healings == healings:
            await self.breaking.end(fault)

    async def _heal(self) -> None:
        self.healings += 1
        await self.breaking.heal()

    async def _change(self, changes: Sequence[Change]) -> None:
        """One after the other, as one back end does."""
        began = self.clock.monotonic()
        for change in changes:
            await self.clock.sleep(began + change.at_s - self.clock.monotonic())
            await self._append(change.append(APP))
            self.changes_done += 1
            self.note(str(change))

    # The end --------------------------------------------------------------------------------------------------------

    async def _settle(self, story: Story) -> None:
        """Everybody's sends come to an end, and everybody sees everything, in bounded time."""
        waited_s = 0.0
        while unfinished := self._unfinished(len(story.changes)):
            if waited_s >= SETTLE_S_MAX:
                story.failures.append(f"{SETTLE_S_MAX:g} s after everything healed: {'; '.join(unfinished)}")
                return
            await self.clock.sleep(0.5)
            waited_s += 0.5

    async def _try(self, story: Story) -> None:
        """One fault alone, while people talk: everything must arrive in time though it lasts."""
        story.trial = trial = draw_trial(self._random(), NODES, Cache.NAME)
        self.network.tasks.spawn(str(trial.fault), self._happen(trial.fault, self.healings))
        began = self.clock.monotonic()
        for person in self.people.values():
            rng = self._random()
            self.network.tasks.spawn("talk", person.talk(self.clock, rng, moments(rng)))
        await self.clock.sleep(trial.lasts_s)
        story.failures += list(self._late(began, trial.within_s))
        await self._heal()
        await self._settle(story)

    def _late(self, began: float, within_s: float) -> Iterator[str]:
        """Who has not had what was said since then in time."""
        for conv in CONVERSATIONS:
            log = self.entries(conv)
            spans, numbers = visible(log), {entry.client_id: entry.seq for entry in log}
            for speaker, (name, at) in self._said_since(conv, began):
                if name not in numbers:
                    yield f"what {speaker} said in {conv} is not in the log {self.clock.monotonic() - at:.1f} s later"
                    continue
                for hearer in self.people.values():
                    may_see = any(numbers[name] in span for span in spans.get(hearer.device[0], ()))
                    took_s = hearer.seen_at.get((conv, name), inf) - at
                    if may_see and took_s > within_s:
                        yield f"late: {hearer.name} had {conv} {numbers[name]} of {speaker} after {took_s:.1f} s"

    def _said_since(self, conv: str, began: float) -> Iterator[tuple[str, tuple[str, float]]]:
        for person in self.people.values():
            refused = person.refused
            for (where, name), at in person.said_at.items():
                if where == conv and at >= began and name not in refused:
                    yield person.name, (name, at)

    def _unfinished(self, changes: int) -> list[str]:
        logs = {conv: self.entries(conv) for conv in self.histories}
        away = [f"{conv} cannot be read" for conv, log in logs.items() if not log]
        if away:
            return away
        waiting = [
            f"{person.device} waits for {waits} acks"
            for person in self.people.values()
            if (waits := person.unsettled(logs))
        ]
        lagging = [
            f"{reader.name} lacks entries of {conv}"
            for conv, history in self.histories.items()
            for reader in history.lagging(logs[conv])
        ]
        changing = ["the back end is not done"] if self.changes_done < changes else []
        changing += ["a node is drained, or a shard moved"] if self.beginning else []
        absent = [
            f"{person.name} is not connected" for person in self.people.values() if not person.connected
        ]
        cornered = [
            f"{person.name} knows of one node only" for person in self.people.values() if person.cornered
        ]
        return [*waiting, *lagging, *changing, *absent, *cornered, *self._doubting()]

    def _doubting(self) -> list[str]:
        """Nodes that have not come back to the fast path."""
        return [
            f"{node.name}: {node.parts.hearing.why}"
            for node in self.nodes.values()
            if node.parts is not None and not node.parts.hearing.trusted
        ]

    async def _judge(self, story: Story) -> None:
        for person in self.people.values():
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
        for person in self.people.values():
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


def _places() -> Places:
    logs = (*CONVERSATIONS, *map(account_id, USERS))
    clients = ["-".join(device) for device in DEVICES]
    return Places(NODES, clients, DATABASES, Cache.NAME, logs, NEWCOMERS)


def _where(error: BaseException) -> str:
    """Where an error came from: the innermost steps in our own code."""
    own = [step for step in traceback.extract_tb(error.__traceback__) if "posthouse" in step.filename]
    return " < ".join(f"{step.filename.rpartition('posthouse/')[2]}:{step.lineno}" for step in own[:-4:-1])


def _for_now(refused: Refused) -> bool:
    return action_of(refused.code) is Action.RETRY


def _keys() -> Credentials:
    key = SigningKey(kid="k", algorithm=Algorithm.HS256, secret=_SECRET)
    return Credentials(apps={APP: AppKeys(signing=(key,), api_key_hashes=())}, resume_secret=_SECRET)


def simulate(seed: int, story: Story | None = None) -> Story:
    """Play one seed on a loop of its own; `story` is what it is told in."""
    story = story or Story(seed)
    with (
        TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        runner.run(_simulate(story, Path(folder)))
    return story


async def _simulate(story: Story, folder: Path) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    world = World(story.seed, loop, folder)
    playing = start(world.play(story))
    await asyncio.wait([playing])
    if (error := playing.exception()) is not None:
        story.broke_off(error)
    story.seconds = loop.elapsed
    await world.end()
