"""What each fault does to a simulated cluster, and what its end puts right again."""

from collections.abc import Mapping, Sequence

from posthouse.model.ids import shard_of
from posthouse.testing.simulation.cache import Cache
from posthouse.testing.simulation.database import Database
from posthouse.testing.simulation.faults import Fault, Kind
from posthouse.testing.simulation.network import Network
from posthouse.testing.simulation.nodes import SimulatedNode
from posthouse.testing.simulation.people import Person

ROLL_S = 2.0
"""Between one node of a rolling drain and the next."""


class Breaking:
    """Begins and ends faults. Several may overlap, and whatever they leave `heal` puts right."""

    def __init__(
        self,
        network: Network,
        nodes: Mapping[str, SimulatedNode],
        databases: Mapping[str, Database],
        cache: Cache,
        people: Mapping[str, Person],
        app: str,
    ) -> None:
        self._network = network
        self._nodes = nodes
        self._databases = databases
        self._cache = cache
        self._people = people
        self._app = app

    async def begin(self, fault: Fault) -> None:
        """It happens."""
        match fault.kind:
            case Kind.CRASH_NODE:
                await self._nodes[fault.target].crash()
            case Kind.FREEZE_NODE:
                self._nodes[fault.target].host.freeze()
            case Kind.DRAIN_NODE:
                await self._nodes[fault.target].stop()
            case Kind.ROLLING_DRAIN:
                await self._roll()
            case Kind.JOIN_NODE if not self._nodes[fault.target].starts:
                self._nodes[fault.target].start()
            case Kind.CRASH_PRIMARY:
                self._databases[fault.target].crash(self._databases[fault.target].primary)
            case Kind.CRASH_STANDBY:
                self._databases[fault.target].crash(self._databases[fault.target].standby)
            case Kind.SLOW_COMMITS:
                self._databases[fault.target].slow_commit_s = 1.0
            case Kind.MOVE_SHARD:
                await self._move(fault.target)
            case Kind.KILL_CLIENT:
                await self._people[fault.target].kill()
            case _:
                self._begin_between(fault)

    def _begin_between(self, fault: Fault) -> None:
        """Faults of what lies between machines, and of the cache."""
        network, cache = self._network, self._cache
        match fault.kind:
            case Kind.CRASH_CACHE:
                cache.crash()
            case Kind.WIPE_CACHE:
                cache.wipe()
            case Kind.LOSSY_BUS:
                cache.lost_share, cache.doubled_share = 0.4, 0.2
            case Kind.MUTE_BUS:
                cache.lost_share = 1.0
            case Kind.CUT:
                network.cut(fault.target, fault.other)
            case Kind.LAG_STANDBY:
                for one, other in self._replication(fault.target):
                    network.cut(one, other)
            case Kind.SLOW_NETWORK:
                network.slow[fault.target] = 1.0
            case Kind.RESET_LINKS:
                network.reset(fault.target)

    async def end(self, fault: Fault) -> None:
        """It is over."""
        match fault.kind:
            case Kind.CRASH_NODE | Kind.DRAIN_NODE if not self._nodes[fault.target].host.alive:
                self._nodes[fault.target].start()
            case Kind.FREEZE_NODE:
                self._nodes[fault.target].host.thaw()
            case Kind.CRASH_CACHE if not self._cache.host.alive:
                self._cache.restart()
            case Kind.CRASH_PRIMARY | Kind.CRASH_STANDBY:
                self._restart_machines(self._databases[fault.target])
            case Kind.SLOW_COMMITS:
                self._databases[fault.target].slow_commit_s = 0.0
            case Kind.CUT:
                self._network.mend(fault.target, fault.other)
            case Kind.LAG_STANDBY:
                for one, other in self._replication(fault.target):
                    self._network.mend(one, other)
            case Kind.SLOW_NETWORK:
                self._network.slow.pop(fault.target, None)
            case Kind.LOSSY_BUS | Kind.MUTE_BUS:
                self._cache.lost_share = self._cache.doubled_share = 0.0
            case Kind.KILL_CLIENT:
                await self._people[fault.target].restart()

    async def heal(self) -> None:
        """Whatever still lasts ends now."""
        self._network.heal()
        self._network.slow.clear()
        self._cache.lost_share = self._cache.doubled_share = 0.0
        for database in self._databases.values():
            database.slow_commit_s = 0.0
            self._restart_machines(database)
        if not self._cache.host.alive:
            self._cache.restart()
        for node in self._nodes.values():
            node.host.thaw()
            if node.starts and not node.host.alive:
                node.start()
        for person in self._people.values():
            await person.restart()

    async def _roll(self) -> None:
        """One node after the other, each back before the next goes."""
        for node in self._nodes.values():
            if node.parts is not None:
                await node.stop()
                node.start()
                await self._network.clock.sleep(ROLL_S)

    async def _move(self, log: str) -> None:
        """The shard that holds a log goes to the next database. One that is on its way already stays there."""
        names = list(self._databases)
        for at, name in enumerate(names):
            database = self._databases[name]
            owners = database.tables.charter.owners
            number = shard_of(self._app, log, len(owners)) if owners else 0
            if owners and owners[number].database == name and not database.is_moving(number):
                await database.move(number, self._databases[names[(at + 1) % len(names)]])
                return

    def _replication(self, database: str) -> Sequence[tuple[str, str]]:
        one, other = self._databases[database].machines
        return (one, other), (other, one)

    def _restart_machines(self, database: Database) -> None:
        for name, machine in database.machines.items():
            if not machine.host.alive:
                database.restart(name)
