"""All of a node but its sockets and its folder, put together on given ports. Wiring only.

The order of starting and stopping is decided here: whoever is told something must be there before it is told.
"""

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

from posthouse.app.balancing import Balancing
from posthouse.app.config.values import Config
from posthouse.app.ports import Ports
from posthouse.app.reaching import reach
from posthouse.app.reporting import Reporter
from posthouse.app.secrets import Credentials
from posthouse.app.settings import commit_limits, gateway_limits, rates
from posthouse.app.tending import Tending, replica_parts
from posthouse.auth.resume import ResumeTokens
from posthouse.auth.tokens import TokenVerifier
from posthouse.cluster.events import Events
from posthouse.cluster.lease import Claim
from posthouse.cluster.membership import Membership
from posthouse.cluster.singleton import Singleton
from posthouse.gateway.admission import Admission
from posthouse.gateway.gateway import Gateway
from posthouse.gateway.registrar import SOURCE as ROUTES
from posthouse.health.probes import Probes
from posthouse.health.vitals import Vitals
from posthouse.kit.chance import system_random
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import Tasks, attempt
from posthouse.messaging.commit import GroupCommit
from posthouse.messaging.commits import Commit, Commits
from posthouse.messaging.coverage import Coverage
from posthouse.messaging.hearing import Hearing
from posthouse.messaging.notes import CoveredNote, EventsNote, HeadsNote, WakeNote
from posthouse.messaging.polling import Poller
from posthouse.messaging.publish import Heads, Publisher
from posthouse.messaging.readers import Roster
from posthouse.messaging.receipts import Receipts
from posthouse.messaging.repair import Repair
from posthouse.messaging.vigil import Vigil
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Database, FeedEntry, Outcome, StorageError

_log = logger(__name__)

BUS, REGISTER = "bus", "register"
STEP_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 30.0
"""How long each step of stopping may take; the last one is the database's, which must not be cut off in a commit."""
FAULTS: Final = (Code.INTERNAL, Code.UNAVAILABLE, Code.BUSY, Code.STORAGE_FULL, Code.OVERLOADED, Code.CORRUPT)
"""Answers that are this node's fault, or that another node might have answered better."""
RETURN_WITHIN_MS: Final = 2_000
"""Clients of a node that stops are told to come back spread over so long."""

Loop = tuple[str, Callable[[], Awaitable[None]]]


class Readers:
    """What follows one database: its way in, and its readers."""

    def __init__(self, name: str, database: Database, parts: "Parts") -> None:
        clock, publisher = parts.clock, parts.publisher
        self.commit = GroupCommit(parts.ports.log, publisher, commit_limits(parts.config), parts.vigil)
        self.roster = Roster(database, parts.append, clock)
        self.repair = Repair(database, publisher, clock, name)
        self.coverage = Coverage(name, parts.hearing, clock)
        self.poller = Poller(
            database, parts.hearing, partial(parts.recheck, name), parts.pass_on, parts.tell, clock
        )
        self.roster_turn = Singleton(
            parts.claim(f"roster:{name}"), self.roster.run, clock, without_cache=True
        )
        self.repair_turn = Singleton(
            parts.claim(f"repair:{name}"),
            self.repair.run,
            clock,
            able=lambda: parts.hearing.trusted_but_for("repair:"),
        )
        self.repair_turn.on_known = partial(parts.repairs, f"repair:{name}")
        self.commit.on_membership = self._wake
        for turn in (self.roster_turn, self.repair_turn):
            turn.on_turn = partial(parts.told_turn, turn.claim.name)
        self._tell = partial(publisher.post, [WakeNote(name)])
        self._name = name

    def loops(self) -> list[Loop]:
        """By name, to be supervised."""
        return [
            (f"commit {self._name}", self.commit.run),
            (f"roster {self._name}", self.roster_turn.run),
            (f"repair {self._name}", self.repair_turn.run),
            (f"poll {self._name}", self.poller.run),
            (f"coverage {self._name}", self.coverage.run),
        ]

    async def prepare(self) -> None:
        """Before this node serves anybody. A database that is away now has nothing to be told of."""
        with contextlib.suppress(StorageError):
            await self.repair.prepare()

    def _wake(self) -> None:
        self.roster.wake()
        self._tell()


class Parts:
    """`name` is unique in the cluster. `start`, then `gateway` takes sockets until `stop`."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        keys: Credentials,
        clock: Clock,
        name: str,
        vitals: Callable[[], Vitals] = Vitals,
        rng: random.Random | None = None,
    ) -> None:
        self.config = config
        self.ports = ports
        self.clock = clock
        self.apps = tuple(keys.apps)
        self.tasks = Tasks(clock)
        self.hearing = Hearing((BUS, ROUTES, REGISTER), clock.monotonic)
        self.probes = Probes(ports.databases, clock, name)
        for kind, ask in ports.probes.items():
            self.probes.watch(kind, ask)
        self.reporter = Reporter(config, name, self.probes, vitals, clock)
        self.membership = Membership(name, ports.nodes, self.reporter.report, clock)
        self.events = Events(name, lambda: self.membership.incarnation, clock)
        self.publisher = Publisher(ports.bus, ports.routes, self.membership.peers)
        self.vigil = Vigil(clock)
        self.readers = {each: Readers(each, database, self) for each, database in ports.databases.items()}
        self.commit = self._commit()
        self.receipts = Receipts(ports.log, self.publisher, clock)
        self.verifier = TokenVerifier(keys.apps, ttl_s_max=config.auth.token_ttl_s_max)
        self.gateway = Gateway(
            name,
            ports.log,
            self.commit,
            self.receipts,
            ports.routes,
            self.verifier,
            ResumeTokens(keys.resume_secret),
            Admission(rates(config), clock.monotonic()),
            clock,
            gateway_limits(config),
            self.hearing,
            ports.owner,
        )
        self.balancing = Balancing(
            config,
            self.gateway,
            lambda: self.membership.snapshot,
            self.probes,
            self.events,
            clock,
            rng or system_random(),
        )
        self.tending = Tending(
            config,
            self.gateway,
            self.probes,
            self.balancing,
            self.events,
            self.claim("remedies"),
            lambda: self.membership.snapshot,
            vitals,
            clock,
        )
        self.probes.lag_ms = lambda: vitals().loop_lag_max_ms
        self.probes.more.append(lambda: replica_parts(ports))
        self._connect()

    # Life -----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open what the node stands on and begin. Raises `StorageUnavailable` or `Unreachable`, saying what to do."""
        await self.ports.open_cache()
        await self.ports.log.open()
        await self.gateway.audience.keep_once()  # before anybody knows of this node: its routes are whole
        await reach("cache.url", self.membership.join, self.clock)
        await reach("bus.url", self._subscribe, self.clock)
        await self.gateway.load_blocked(self.apps)
        for readers in self.readers.values():
            await readers.prepare()
        await self.probes.probe()
        for name, loop in self._loops():
            self.tasks.supervise(name, loop)

    async def stop(self, close_connections: Callable[[], Awaitable[None]]) -> None:
        """Send clients away, let what is in flight commit, and close the databases.

        Each step ends in a bounded time, and none that fails keeps the others from being taken.
        """
        await self.balancing.drain_before_stop()
        self.probes.draining = True
        self.gateway.send_away(Code.NODE_STOPPING, "the node stops", RETURN_WITHIN_MS)
        await attempt("close connections", close_connections(), STEP_TIMEOUT_S)
        await attempt("commit what waits", self.commit.drained(), STEP_TIMEOUT_S)
        await attempt("write cursors", self.receipts.flush(), STEP_TIMEOUT_S)
        await attempt("tell the others", self.publisher.flush(), STEP_TIMEOUT_S)
        await attempt("end balancing", self.balancing.close(), STEP_TIMEOUT_S)
        await attempt("end tasks", self.tasks.close(), STEP_TIMEOUT_S)
        await attempt("end the sessions' tasks", self.gateway.tasks.close(), STEP_TIMEOUT_S)
        await attempt("say goodbye", self._leave(), STEP_TIMEOUT_S)
        await attempt("close the cache", self.ports.close_cache(), STEP_TIMEOUT_S)
        await attempt("close the database", self.ports.log.close(), CLOSE_TIMEOUT_S)

    def _loops(self) -> list[Loop]:
        return [
            *(loop for readers in self.readers.values() for loop in readers.loops()),
            ("receipts", self.receipts.run),
            ("publish", self.publisher.run),
            ("vigil", self.vigil.keep),
            ("membership", self.membership.run),
            ("keep routes", self.gateway.audience.keep),
            ("blocklist", self.gateway.refresh_blocked),
            ("probes", self.probes.run),
            ("sweep", self.gateway.sweep),
            *([("shard map", self.ports.shards.run)] if self.ports.shards is not None else []),
            ("rebalance", self.balancing.rebalancer.run),
            ("remedies", self.tending.attendant.run),
        ]

    # What parts ask of each other -----------------------------------------------------------------------------------

    def claim(self, name: str) -> Claim:
        """This node's claim on a lease."""
        return Claim(self.ports.leases, name, lambda: self.membership.holder, self.clock)

    def told_turn(self, singleton: str, why: str) -> None:
        """Something that runs on one node at a time begins or ends here."""
        self.events.record("singleton", singleton, why)

    def repairs(self, source: str, known: bool) -> None:
        """When nobody can say who repairs, perhaps nobody does: lost hints would not heal by themselves."""
        if known:
            self.hearing.trust(source)
        else:
            self.hearing.doubt(source, "nobody can say who has the lease")

    async def append(self, append: Append) -> Outcome:
        """Through the group commit of its database."""
        return await self.commit.append(append)

    async def recheck(self, database: str) -> None:
        """Have the rooms of one database read their heads."""
        await self.gateway.audience.recheck(lambda key: self.ports.owner(*key) == database)

    def pass_on(self, entries: Sequence[FeedEntry]) -> None:
        """This gateway is given new entries of a feed."""
        self.gateway.audience.hear_entries(entries)

    def tell(self, heads: Heads) -> None:
        """This gateway hears how far logs go."""
        self.gateway.notes.hear([HeadsNote(app, own) for app, own in heads.items()])

    def _commit(self) -> Commit:
        """One database needs no door."""
        commits = {name: readers.commit for name, readers in self.readers.items()}
        return (
            next(iter(commits.values()))
            if len(commits) == 1
            else Commits(commits, self.ports.owner, self.clock)
        )

    def _connect(self) -> None:
        gateway, notes, membership = self.gateway, self.gateway.notes, self.membership
        self.publisher.local = notes.hear
        gateway.devices.tell = lambda note: self.publisher.post([note])
        for readers in self.readers.values():
            readers.commit.on_message = self.receipts.sent
        notes.on(WakeNote, self._wake_roster)
        notes.on(CoveredNote, self._covered)
        notes.on(EventsNote, lambda note: self.events.hear(note.events))
        self.events.share = lambda events: self.publisher.post([EventsNote(tuple(events))])
        self.hearing.on_doubt = self._wake_pollers
        self.hearing.on_change = lambda why: self._told("hints", why)
        membership.on_known = self._register_known
        membership.on_absent = self._was_absent
        membership.on_superseded = self._superseded
        membership.on_change = lambda node, why: self._told("node", why, node)
        if self.ports.shards is not None:
            self.ports.shards.on_open = self._read_blocked
        self._count()

    async def _read_blocked(self, name: str, database: Database) -> None:
        """A database that was away knows of users who must not come in."""
        for app in self.apps:
            for user in await database.blocked(app):
                self.gateway.blocklist.block(app, user)

    def _count(self) -> None:
        counts, gateway = self.reporter.counts, self.gateway
        counts.connections = lambda: gateway.clients_count
        counts.deliveries = lambda: gateway.audience.deliveries
        counts.errors = lambda: sum(gateway.codes[code] for code in FAULTS)
        counts.latency_ms = lambda: _median(gateway.latencies_ms)
        counts.in_flight = lambda: sum(readers.commit.waiting for readers in self.readers.values())

    def _wake_roster(self, note: WakeNote) -> None:
        readers = self.readers.get(note.database)
        if readers is not None:
            readers.roster.wake()

    def _covered(self, note: CoveredNote) -> None:
        readers = self.readers.get(note.database)
        if readers is not None:
            readers.coverage.hear(note)

    def _wake_pollers(self) -> None:
        for readers in self.readers.values():
            readers.poller.wake()

    async def _subscribe(self) -> None:
        await self.ports.bus.subscribe(self.gateway.node, self.gateway.notes.deliver, self._bus_stands)
        self._bus_stands(True)

    def _bus_stands(self, stands: bool) -> None:
        if stands:
            self.hearing.trust(BUS)
        else:
            self.hearing.doubt(BUS, "the subscription is broken")

    def _register_known(self, reason: str) -> None:
        if reason:
            self.hearing.doubt(REGISTER, reason)
        else:
            self.hearing.trust(REGISTER)

    def _told(self, kind: str, why: str, subject: str = "") -> None:
        """What each node sees for itself stays with it."""
        self.events.record(kind, subject or self.membership.node, why, shared=False)

    def _was_absent(self, reason: str) -> None:
        """The others took this node for gone: what they committed meanwhile was told to nobody here."""
        self.events.record("membership", self.membership.node, reason)
        self.hearing.missed()
        self.tasks.spawn("reload the blocklist", self.gateway.blocklist.load(self.apps))

    def _superseded(self) -> None:
        reason = "another process has taken this node's name; this one serves nobody any more"
        self.events.record("membership", self.membership.node, reason)
        self.reporter.fenced = reason
        self.probes.draining = True
        self.gateway.close(reason)

    async def _leave(self) -> None:
        await self.membership.leave()
        await self.ports.bus.unsubscribe(self.gateway.node)
        await self.ports.routes.forget(self.gateway.node)


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0
