"""Opening a database: what is in the way is said with the address and what to do; the schema is set up once."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.base import Refused, StorageFull, StorageUnavailable
from posthouse.storage.engines.postgres import schema, session
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.database import PostgresDatabase, PostgresLimits
from posthouse.storage.engines.postgres.hosts import Host
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.postgres import LocalPostgres, fresh_database
from tests.storage.engines.postgres.watching import OpenNode, connected


async def why_not(dsn: str) -> str:
    """The message with which a database refuses to open."""
    database = PostgresDatabase(dsn, SystemClock())
    with pytest.raises(StorageUnavailable) as caught:
        await database.open()
    await database.close()
    return str(caught.value)


@asynccontextmanager
async def a_silly_server(answer: bytes) -> AsyncIterator[str]:
    """An address at which something else listens."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}/db"


@pytest.fixture
def empty_dsn(server: LocalPostgres) -> Iterator[str]:
    with fresh_database(server) as dsn:
        yield dsn


async def test_no_server_at_the_address() -> None:
    message = await why_not("postgresql://ann:secret@127.0.0.1:1/db")
    assert "no PostgreSQL answers at 127.0.0.1:1/db" in message
    assert "start it, or correct the database's address" in message
    assert "secret" not in message


async def test_a_host_that_does_not_exist() -> None:
    assert "no PostgreSQL answers at nowhere.invalid/db" in await why_not(
        "postgresql://ann@nowhere.invalid/db"
    )


async def test_a_wrong_password() -> None:
    with LocalPostgres(settings={"fsync": False}, password="right") as server:
        message = await why_not(server.dsn(password="wrong"))
        assert "refuses the user or password" in message
        assert f"127.0.0.1:{server.port}/postgres" in message
        assert "wrong" not in message


async def test_a_database_that_does_not_exist(server: LocalPostgres) -> None:
    message = await why_not(server.dsn("absent"))
    assert 'database "absent" does not exist. Create it with createdb' in message


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"E\0\0\0\x08boo\0", b"N" * 100]
)
async def test_something_that_is_not_postgresql(answer: bytes) -> None:
    async with a_silly_server(answer) as where:
        assert f"at {where}" in await why_not(f"postgresql://ann@{where}")


@pytest.mark.parametrize(
    "dsn", ["mysql://ann:secret@host/db", "postgresql://ann@host:secret@h/db", "nonsense"]
)
async def test_an_address_that_is_none(dsn: str) -> None:
    message = await why_not(dsn)
    assert "the database's address is not valid" in message
    assert "secret" not in message


async def test_a_server_that_is_too_old(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "VERSION_MIN", 990_000)
    message = await why_not(dsn)
    assert "Posthouse needs 99 or newer" in message


async def test_a_standby() -> None:
    """Its address was given by mistake, or it was the primary once."""
    with LocalPostgres(settings={"fsync": False}) as server:
        server.stop()
        signal_file = server.data / "standby.signal"
        signal_file.touch()
        shutil.chown(signal_file, server.data.stat().st_uid, server.data.stat().st_gid)
        server.start()
        assert "is a standby, which takes no writes: name the primary" in await why_not(server.dsn())
        several = server.dsn().replace("@", "@127.0.0.1:1,")
        message = await why_not(several)
        assert "no primary: 127.0.0.1:1/postgres is away" in message
        assert f"127.0.0.1:{server.port}/postgres is a standby" in message


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_TIMEOUT_S", 0.2)
    with LocalPostgres(settings={"fsync": False}) as server:
        server.freeze()
        assert "did not answer within 0.2 s" in await why_not(server.dsn())
        server.thaw()


async def test_a_user_who_may_not_create_tables(empty_dsn: str, server: LocalPostgres) -> None:
    async with connected(empty_dsn) as admin:
        await admin.execute("CREATE ROLE guest LOGIN")
        await admin.execute("REVOKE CREATE ON SCHEMA public FROM public")
        assert "permission denied for schema public" in await why_not(
            empty_dsn.replace("posthouse@", "guest@")
        )
        await admin.execute("DROP ROLE guest")


@pytest.mark.parametrize("asked", ["", "?target_session_attrs=read-write"])
async def test_the_primary_is_found_among_several_hosts(empty_dsn: str, asked: str) -> None:
    """As a client of a cluster whose primary moves from host to host."""
    several = empty_dsn.replace("@", "@127.0.0.1:1,") + asked
    database = PostgresDatabase(several, SystemClock())
    await database.open()
    assert (await database.probe()).writable
    await database.close()


async def test_opening_may_be_tried_again_until_there_is_a_primary(
    empty_dsn: str, server: LocalPostgres
) -> None:
    """As a node does that starts before its database: nothing piles up meanwhile."""
    where = f"127.0.0.1:{server.port}"
    database = PostgresDatabase(empty_dsn.replace(where, "127.0.0.1:1,127.0.0.1:2"), SystemClock())
    for _ in range(3):
        with pytest.raises(StorageUnavailable, match=r"no primary: 127\.0\.0\.1:1/.* is away"):
            await database.open()
    assert len(database._watch._tasks._running) == 2
    await database.close()


async def test_nodes_that_start_at_once_set_the_schema_up_once(empty_dsn: str) -> None:
    nodes = [PostgresDatabase(empty_dsn, SystemClock()) for _ in range(5)]
    await asyncio.gather(*(node.open() for node in nodes))
    assert len({node.epoch for node in nodes}) == 1
    talk = Talk(nodes[0])
    await talk.done(talk.group("g", "ann"))
    await asyncio.gather(*(node.close() for node in nodes))


async def test_a_schema_from_the_future_is_refused(
    dsn: str, open_node: OpenNode, watcher: Connection
) -> None:
    await open_node()
    await watcher.execute("UPDATE meta SET schema_version = schema_version + 7")
    try:
        message = await why_not(dsn)
        assert "was set up by a newer Posthouse" in message
        assert "run that version" in message
    finally:
        await watcher.execute("UPDATE meta SET schema_version = schema_version - 7")


async def test_migrations_are_applied_in_order_and_only_once(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later release finds its own migrations missing, and nothing else."""
    first = schema.migrations()
    database = PostgresDatabase(empty_dsn, SystemClock())
    await database.open()
    await database.close()
    later = [*first, "CREATE TABLE second (n int)", "INSERT INTO second VALUES (3)"]
    monkeypatch.setattr(schema, "migrations", lambda: later)
    for _ in range(2):
        database = PostgresDatabase(empty_dsn, SystemClock())
        await database.open()
        await database.close()
    async with connected(empty_dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM second") == 1
        assert await connection.fetchval("SELECT migrated FROM meta") == len(later)


async def test_a_release_works_on_beside_the_next_one(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later release expands the schema: the one of before starts on it and works, and its nodes keep running."""
    first = schema.migrations()
    before = PostgresDatabase(empty_dsn, SystemClock())
    await before.open()
    expand = f"-- Works with: {len(first)}\nALTER TABLE log ADD COLUMN colour text NOT NULL DEFAULT 'red'"
    monkeypatch.setattr(schema, "migrations", lambda: [*first, expand])
    newer = PostgresDatabase(empty_dsn, SystemClock())
    await newer.open()
    monkeypatch.setattr(schema, "migrations", lambda: first)
    restarted = PostgresDatabase(empty_dsn, SystemClock())
    await restarted.open()
    talk = Talk(newer)
    await talk.start("g", "ann")
    for number, node in enumerate((before, newer, restarted)):
        assert [
            each.code for each in await node.append([talk.send("g", "ann")]) if isinstance(each, Refused)
        ] == []
        assert await node.heads(talk.app, ["g"]) == {"g": 2 + number}
    await asyncio.gather(*(node.close() for node in (before, newer, restarted)))


async def test_a_release_does_not_start_once_a_later_one_has_contracted_the_schema(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it make new connections, should it still run."""
    first = schema.migrations()
    before = PostgresDatabase(empty_dsn, SystemClock())
    await before.open()
    contract = f"-- Works with: {len(first) + 1}\nALTER TABLE log DROP COLUMN home_region"
    monkeypatch.setattr(schema, "migrations", lambda: [*first, contract])
    newer = PostgresDatabase(empty_dsn, SystemClock())
    await newer.open()
    monkeypatch.setattr(schema, "migrations", lambda: first)
    assert "was set up by a newer Posthouse" in await why_not(empty_dsn)
    assert "was set up by a newer Posthouse" in (await before.probe()).reason
    await asyncio.gather(before.close(), newer.close())


def test_every_migration_says_whose_code_works_with_it() -> None:
    """From the second one on; and none asks for more than itself, or for less than the one before."""
    said = [schema.works_with(text) for text in schema.migrations()]
    assert all(text.startswith("-- Works with: ") for text in schema.migrations()[1:])
    assert said == sorted(said)
    assert all(version <= number for number, version in enumerate(said, 1))


async def test_a_node_that_froze_while_it_migrated_keeps_nobody_from_starting(
    empty_dsn: str, watcher: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn is a lock of its transaction, which the server ends."""
    settings = {**session.WRITER_SETTINGS, "idle_in_transaction_session_timeout": "300ms"}
    frozen = await session.connect(Host("frozen", empty_dsn), settings)
    await frozen.connection.execute(f"BEGIN; {schema._TAKE_TURN}")
    database = PostgresDatabase(empty_dsn, SystemClock())
    await database.open()
    assert database.epoch
    await database.close()
    frozen.drop()


async def test_a_migration_that_fails_leaves_nothing_behind(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = schema.migrations()
    monkeypatch.setattr(schema, "migrations", lambda: [f"{first[0]}; SELECT 1/0"])
    with pytest.raises(StorageUnavailable, match="division by zero"):
        await PostgresDatabase(empty_dsn, SystemClock()).open()
    monkeypatch.setattr(schema, "migrations", lambda: first)
    database = PostgresDatabase(empty_dsn, SystemClock())
    await database.open()
    await database.close()


def test_migrations_are_numbered_without_gaps() -> None:
    names = sorted(path.name for path in (Path(schema.__file__).parent / "migrations").iterdir())
    assert [int(name.partition("_")[0]) for name in names] == list(range(1, len(names) + 1))


async def test_a_database_restored_from_a_dump_is_refused(
    dsn: str, open_node: OpenNode, watcher: Connection
) -> None:
    """There the feed's places lie in the future: new entries would come before readers' positions, and be missed."""
    talk = Talk(await open_node())
    await talk.done(talk.group("g", "ann"))
    ahead = "UPDATE entry SET xid = (xid::text::bigint + $1)::text::xid8 WHERE app = $2"
    await watcher.execute(ahead, 1_000_000, talk.app)
    try:
        assert "was restored from a dump" in await why_not(dsn)
    finally:
        await watcher.execute(ahead, -1_000_000, talk.app)


async def test_the_epoch_lives_in_the_database(dsn: str, open_node: OpenNode, watcher: Connection) -> None:
    """All nodes have the same, and one that reconnects after the epoch has changed learns the new one."""
    one, other = await open_node(), await open_node()
    assert one.epoch == other.epoch == await watcher.fetchval("SELECT epoch FROM meta")
    await watcher.execute("UPDATE meta SET epoch = 'after the restore'")
    assert (await open_node()).epoch == "after the restore"
    await watcher.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'posthouse' AND datname = current_database()"
    )
    talk = Talk(one)
    await talk.done(talk.group("g", "ann"))
    assert one.epoch == "after the restore"


async def test_an_empty_database_that_is_read_only_cannot_be_set_up(
    empty_dsn: str, server: LocalPostgres
) -> None:
    name = empty_dsn.rpartition("/")[2]
    async with connected(empty_dsn) as connection:
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StorageFull, match="read-only transaction"):
        await PostgresDatabase(empty_dsn, SystemClock()).open()


async def test_a_dead_host_is_noticed(open_node: OpenNode) -> None:
    """Connections are watched by the kernel: nobody waits for ever for a machine that has lost power."""
    node = await open_node()
    async with node._readers.use() as used:
        own: Any = used.connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        option = socket.TCP_USER_TIMEOUT
        assert own.getsockopt(socket.IPPROTO_TCP, option) == session.SILENCE_MS_MAX


async def test_limits_are_kept(dsn: str) -> None:
    """All readers busy: the next caller waits, is refused, and is counted; then one is free and serves."""
    limits = PostgresLimits(readers_max=2, wait_timeout_s=0.05)
    database = PostgresDatabase(dsn, SystemClock(), limits)
    await database.open()
    async with database._readers.use(), database._readers.use():
        with pytest.raises(StorageUnavailable, match=r"all 2 connections to .* were busy"):
            await database.heads("app", ["g"])
    assert await database.heads("app", ["g"]) == {}
    assert database.statistics()["refused_busy"] == 1
    await database.close()
    with pytest.raises(StorageUnavailable, match="is closed"):
        await database.heads("app", ["g"])
