"""Two databases of one system, nodes that stand on both, and moves between them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count

from posthouse.cluster.databases import Databases
from posthouse.cluster.routing import RoutedDatabase
from posthouse.kit.clock import SystemClock
from posthouse.messaging.readers import Roster
from posthouse.storage.base import Append, Outcome
from posthouse.storage.engines.postgres import moving
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.storage.engines.postgres.moving import ShardMove, Step
from posthouse.testing.postgres import LocalPostgres, fresh_database

A, B = NAMES = ("a", "b")
CLOCK = SystemClock()
_movers = count(1)


@dataclass
class Node:
    """What a node has of storage: engines of its own, a map of its own."""

    databases: Databases
    routed: RoutedDatabase

    def engine(self, name: str) -> PostgresDatabase:
        database = self.databases.named[name]
        assert isinstance(database, PostgresDatabase)
        return database

    def shard(self, app: str, log: str) -> int:
        return self.databases.map.shard(app, log)

    def owner(self, shard: int) -> str:
        return self.databases.map.owners[shard].database

    async def mover(self, shard: int, to: str = "", before: Step | None = None) -> ShardMove:
        """A move of a shard to where it is not."""
        await self.databases.reload()
        owner = self.databases.map.owners[shard]
        target = self.engine(to or (A if owner.database == B else B))
        source = self.engine(owner.database)
        move = ShardMove(shard, source, target, owner.epoch, f"mover-{next(_movers)}", CLOCK)
        if before is not None:
            move.before = before
        return move

    async def move(self, shard: int) -> moving.Moved:
        return await (await self.mover(shard)).run()

    def roster(self, name: str) -> Roster:
        async def append(append: Append) -> Outcome:
            return (await self.routed.append([append]))[0]

        return Roster(self.engine(name), append, CLOCK)


@contextmanager
def two_databases(servers: Sequence[LocalPostgres]) -> Iterator[dict[str, str]]:
    """The addresses of two fresh databases, each on a server of its own if there are two."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(fresh_database(servers[at % len(servers)]))
            for at, name in enumerate(NAMES)
        }


@asynccontextmanager
async def node_on(dsns: dict[str, str]) -> AsyncIterator[Node]:
    """A node on these databases."""
    engines = {name: PostgresDatabase(dsn, CLOCK, name=name, alone=False) for name, dsn in dsns.items()}
    databases = Databases(engines, CLOCK)
    routed = RoutedDatabase(databases)
    try:
        await routed.open()
        yield Node(databases, routed)
    finally:
        await asyncio.gather(*(engine.close() for engine in engines.values()))
