"""A simulated database: a primary, its synchronous standby, and whoever promotes the standby when the primary is dead.

As PostgreSQL does it: a transaction holds its locks and stays invisible until its record is on the primary's disk and
on the standby; a primary that has lost its standby acknowledges nothing until it has one again. What was on the disk of
the primary alone when it died is gone, or comes back: it was never acknowledged.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TypeVar

from posthouse.kit.clock import Clock
from posthouse.model.ids import shard_of
from posthouse.protocol.codes import Code
from posthouse.storage.append import needs, plan
from posthouse.storage.base import (
    Append,
    Charter,
    CursorUpdate,
    FeedPosition,
    IsWanted,
    Moved,
    Outcome,
    Refused,
    Unwanted,
    User,
)
from posthouse.storage.rows import LogKey
from posthouse.testing.simulation.network import Host, Network, Unreachable
from posthouse.testing.simulation.tables import Tables

T = TypeVar("T")

Change = Callable[[Tables], object]
"""What a transaction does to the tables, the same on every machine."""
PROMOTE_AFTER_S = 3.0
"""So long a primary must be gone before its standby takes over (Patroni: 20 s and more; here only the order counts)."""
WATCH_S = 0.25
FIRST_TRANSACTION = 100
_MOVED = Refused(Code.MOVED, "another database has this shard")


class Machine:
    """One database server: tables, and the log of transactions that its disk holds."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.tables = Tables()
        self.wal: list[Change] = []
        self.applied = 0
        self.recovers_to = 0
        """What its disk held when it started: nothing new begins before that is on the standby too, and visible."""

    def apply(self, until: int) -> None:
        """Make what the disk holds visible, up to a place in the log of transactions."""
        while self.applied < until:
            self.wal[self.applied](self.tables)
            self.applied += 1


class Database:
    """The servers of one database, under the names `{name}-1` and `{name}-2`."""

    def __init__(self, name: str, network: Network, rng: random.Random, clock: Clock) -> None:
        self.name = name
        self.network = network
        self.clock = clock
        self.epoch = f"epoch-{name}"
        self.slow_commit_s = 0.0
        """Additional seconds that a commit takes at most."""
        self.machines = {each: Machine(network.start(each)) for each in (f"{name}-1", f"{name}-2")}
        self.primary = f"{name}-1"
        self.promotions = 0
        self._acknowledged = 0
        """So many transactions of the primary's log somebody may have been told of."""
        self._rng = rng
        self._next_transaction = FIRST_TRANSACTION
        self._active: dict[int, None] = {}
        self._frozen: dict[int, None] = {}
        self._writing: Counter[int] = Counter()
        self._locks: dict[LogKey, asyncio.Lock] = {}
        self._streamed = asyncio.Event()
        self._changed = asyncio.Event()
        network.tasks.spawn(f"{name}: replication", self._replicate())
        network.tasks.spawn(f"{name}: failover", self._watch())

    @property
    def standby(self) -> str:
        """The machine that is not the primary."""
        return next(each for each in self.machines if each != self.primary)

    @property
    def tables(self) -> Tables:
        """What queries on the primary see: everything that is acknowledged, and nothing else."""
        return self.machines[self.primary].tables

    @property
    def recovering(self) -> bool:
        """True while the primary has not got back to where it was: it answers nobody."""
        machine = self.machines[self.primary]
        return machine.applied < machine.recovers_to

    @property
    def below(self) -> int:
        """No transaction that commits from now on has a number below this."""
        return next(iter(self._active), self._next_transaction)

    def crash(self, machine: str) -> None:
        """The machine loses its power; its disk stays."""
        self.machines[machine].host.crash()
        self._changed.set()
        if machine == self.primary:
            self._active.clear()
            self._locks.clear()

    def restart(self, machine: str) -> None:
        """The machine is back. If another has become primary meanwhile it follows that one, as pg_rewind makes it."""
        server = self.machines[machine]
        server.host = self.network.start(machine)
        server.tables, server.applied = Tables(), 0
        if machine != self.primary:
            server.wal = []
        server.recovers_to = len(server.wal)
        self._changed.set()

    # Transactions, at the primary ---------------------------------------------------------------------------------

    async def append(self, batch: Sequence[Append], is_wanted: IsWanted) -> list[Outcome]:
        """One transaction for a batch; returns once it is on both machines."""
        wanted = needs(batch)
        await self._recovered()
        async with self._locked(wanted.logs):
            with self._guarded((each.app, each.conv) for each in batch) as moved:
                here = [each for each in batch if (each.app, each.conv) not in moved]
                transaction = self._begin()
                try:
                    planned = plan(here, self.tables.load(wanted), self.clock.now_ms())
                    if not is_wanted():
                        raise Unwanted
                    if here:
                        await self.commit(lambda tables: tables.write(planned, transaction))
                finally:
                    self._active.pop(transaction, None)
        outcomes = iter(planned.outcomes)
        return [_MOVED if (each.app, each.conv) in moved else next(outcomes) for each in batch]

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        """Move cursors, durably."""
        stored: list[CursorUpdate] = []
        with self._guarded((app, cursor.conv) for app, _, cursor in updates) as moved:
            if moved:
                raise Moved(f"{self.name} does not own {sorted(moved)}")
            await self.commit(lambda tables: stored.__setitem__(slice(None), tables.advance(updates)))
        return stored

    async def put_user(self, app: str, user: User) -> None:
        """Create or replace a user, durably."""
        await self.commit(lambda tables: tables.put_user(app, user))

    async def store_position(self, reader: str, position: FeedPosition) -> None:
        """Remember a reader's place, durably."""
        await self.commit(lambda tables: tables.store_position(reader, position))

    async def learn(self, charter: Charter) -> None:
        """Note what other databases say, durably."""
        await self.commit(lambda tables: tables.learn(charter, self.name))

    async def move(self, number: int, target: "Database") -> None:
        """Give a shard that is this database's to another, and see to the end what was begun."""
        owner = self.tables.charter.owners[number]
        given = owner._replace(database=target.name, epoch=owner.epoch + 1)
        shard = self.tables.shard(number)
        self._frozen[number] = None
        try:
            while given not in self.tables.charter.owners:
                while self._writing[number]:
                    await self.clock.sleep(0.001)
                await self.settle()  # what is in doubt is in the copy, or never will be anywhere
                shard = self.tables.shard(number)
                await self._try_commit(partial(Tables.give, shard=shard, owner=given))
        finally:
            del self._frozen[number]
        while given not in target.tables.charter.owners:
            await target._try_commit(partial(Tables.take, shard=shard, owner=given))

    def is_moving(self, number: int) -> bool:
        """True while a shard of this database is being given away."""
        return number in self._frozen

    async def _try_commit(self, change: Change) -> None:
        """Afterwards it has happened, or never will."""
        with suppress(Unreachable):
            await self.commit(change)
        await self.settle()

    async def settle(self) -> None:
        """Return when nothing that came before is in doubt any more."""
        while True:
            try:
                await self.commit(lambda tables: None)
                return
            except Unreachable:
                await self.clock.sleep(WATCH_S)

    async def commit(self, change: Change) -> None:
        """Onto the disk, onto the standby, visible: in this order."""
        machine, life = self.machines[self.primary], self.machines[self.primary].host
        await self._recovered()
        await self.clock.sleep(0.001 + self._rng.random() * (0.004 + self.slow_commit_s))
        _still(life)
        machine.wal.append(change)
        place = len(machine.wal)
        self._changed.set()
        while not self._on_standby(place):
            await self._streamed.wait()
            _still(life)
        machine.apply(place)
        self._acknowledged = max(self._acknowledged, place)

    async def _recovered(self) -> None:
        machine, life = self.machines[self.primary], self.machines[self.primary].host
        while machine.applied < machine.recovers_to:
            await self._streamed.wait()
            _still(life)

    def _on_standby(self, place: int) -> bool:
        standby = self.machines[self.standby]
        return standby.host.alive and len(standby.wal) >= place

    def _begin(self) -> int:
        transaction = self._next_transaction
        self._next_transaction += 1
        self._active[transaction] = None
        return transaction

    @contextmanager
    def _guarded(self, keys: Iterable[LogKey]) -> Iterator[set[LogKey]]:
        """The logs among these that may not be written here. The others' shards do not move meanwhile."""
        count = len(self.tables.charter.owners)
        shards = {key: shard_of(*key, count) for key in keys} if count else {}
        refused = {
            key
            for key, shard in shards.items()
            if shard in self._frozen or not self.tables.owns(self.name, [key])
        }
        written = sorted({shard for key, shard in shards.items() if key not in refused})
        self._writing.update(written)
        try:
            yield refused
        finally:
            self._writing.subtract(written)

    @asynccontextmanager
    async def _locked(self, keys: Sequence[LogKey]) -> AsyncIterator[None]:
        locks = [
            self._locks.setdefault(key, asyncio.Lock()) for key in keys
        ]  # in the order of keys: no deadlock
        held = []
        try:
            for lock in locks:
                await lock.acquire()
                held.append(lock)
            yield
        finally:
            for lock in held:
                lock.release()

    # Replication and failover -------------------------------------------------------------------------------------

    async def _replicate(self) -> None:
        """Stream the primary's log of transactions to the standby, in order."""
        while True:
            self._changed.clear()
            primary, standby = self.machines[self.primary], self.machines[self.standby]
            while _both_alive(primary, standby) and len(standby.wal) < len(primary.wal):
                until = len(primary.wal)
                await self.network.travel(self.primary, self.standby)
                if _both_alive(primary, standby) and primary is self.machines[self.primary]:
                    standby.wal.extend(primary.wal[len(standby.wal) : until])
            if primary.host.alive and self._on_standby(primary.recovers_to):
                primary.apply(primary.recovers_to)
                self._acknowledged = max(self._acknowledged, primary.recovers_to)
            streamed, self._streamed = self._streamed, asyncio.Event()
            streamed.set()
            await self._changed.wait()

    async def _watch(self) -> None:
        """Promote the standby of a dead primary, if it was in step when that died."""
        dead_s = 0.0
        while True:
            await self.clock.sleep(WATCH_S)
            dead_s = 0.0 if self.machines[self.primary].host.alive else dead_s + WATCH_S
            standby = self.machines[self.standby]
            if dead_s >= PROMOTE_AFTER_S and standby.host.alive and self._in_step(standby):
                self._promote()

    def _in_step(self, standby: Machine) -> bool:
        """Everything that was acknowledged is on it."""
        return len(standby.wal) >= self._acknowledged

    def _promote(self) -> None:
        self.primary = self.standby
        machine = self.machines[self.primary]
        machine.tables, machine.applied = Tables(), 0
        machine.apply(len(machine.wal))
        self._acknowledged = len(machine.wal)
        self.machines[self.standby].wal = []
        self._next_transaction += 1_000
        self._active.clear()
        self._locks.clear()
        self.promotions += 1
        self._changed.set()


def _still(life: Host) -> None:
    """A transaction ends with the life of its server."""
    if not life.alive:
        raise Unreachable(f"{life.name} went down")


def _both_alive(one: Machine, other: Machine) -> bool:
    return one.host.alive and other.host.alive
