"""Watch what the engine's server processes wait for, so that tests force a schedule instead of sleeping."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from posthouse.model.ids import shard_of
from posthouse.storage.append import SHARDS, needs
from posthouse.storage.base import Append, Outcome
from posthouse.storage.engines.postgres import appending
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.storage.engines.postgres.ownership import opening
from posthouse.testing.postgres import LocalPostgres


@asynccontextmanager
async def connected(dsn: str, **settings: str) -> AsyncIterator[Connection]:
    """A connection of the test's own, closed however the test ends."""
    connection = await asyncpg.connect(dsn, server_settings=settings)
    try:
        yield connection
    finally:
        connection.terminate()


OpenNode = Callable[..., Awaitable[PostgresDatabase]]


async def waiting_pids(watcher: Connection, event: str) -> list[int]:
    """The engine's server processes that wait for `event`: `Lock` for another's rows, `SyncRep` for the standby."""
    rows = await watcher.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'posthouse' AND datname = current_database()"
        " AND state = 'active' AND $1 IN (wait_event_type, wait_event) ORDER BY pid",
        event,
    )
    return [pid for (pid,) in rows]


async def wait_until_waiting(watcher: Connection, event: str, count: int = 1) -> list[int]:
    """Return once `count` of the engine's server processes wait for `event`; the test's timeout bounds it."""
    pids = await waiting_pids(watcher, event)
    while len(pids) < count:
        pids = await waiting_pids(watcher, event)
    return pids


async def until(watcher: Connection, condition: Callable[[], bool]) -> None:
    """Return once `condition` holds, asking again after each round trip to the server."""
    while not condition():
        await watcher.execute("SELECT")


async def set_standby(server: LocalPostgres, watcher: Connection, name: str) -> None:
    """Name the standby that every COMMIT waits for; none when empty. Returns once sessions obey it.

    Whether they wait at all is decided by the checkpointer, which reads its settings before it does what it is asked.
    """
    server.configure(synchronous_standby_names=name and f'"{name}"')
    while bool(await watcher.fetchval("SHOW synchronous_standby_names")) != bool(name):
        pass
    await watcher.execute("CHECKPOINT")


async def begin_append(connection: Connection, *batch: Append) -> list[Outcome]:
    """Do what the engine does for a batch, on the test's own connection, and stop before COMMIT."""
    wanted = needs(batch)
    own = sorted({shard_of(app, log, SHARDS) for app, log in wanted.logs})
    await connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {opening(own)}")
    return await appending.append(connection, batch, wanted, own, SHARDS)
