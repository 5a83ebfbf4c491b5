"""A server that goes away, freezes, or takes no writes, while nodes are at work: no ack, no hang."""

import asyncio
from collections.abc import Iterator

import pytest

from posthouse.model.cursor import Cursor
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, Condition, CursorUpdate, Refused, StorageUnavailable
from posthouse.storage.engines.postgres import session
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.storage.engines.postgres.hosts import Host
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.postgres import LocalPostgres
from tests.storage.engines.postgres.watching import (
    OpenNode,
    begin_append,
    set_standby,
    until,
    wait_until_waiting,
)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    with LocalPostgres(settings={"fsync": False, "autovacuum": False}) as server:
        yield server


@pytest.fixture(autouse=True)
def sound_afterwards(server: LocalPostgres) -> Iterator[None]:
    yield
    server.configure(synchronous_standby_names="", default_transaction_read_only=False)


async def test_a_server_that_is_away_is_found_again(
    database: PostgresDatabase, server: LocalPostgres
) -> None:
    """Stopped under a running node: sends are refused, reads fail, nobody hangs; started again, all is as before."""
    talk = Talk(database)
    await talk.start("g", "ann")
    server.stop()
    try:
        assert await talk.code(talk.send("g", "ann")) is Code.UNAVAILABLE
        with pytest.raises(StorageUnavailable, match="no PostgreSQL answers at"):
            await talk.page("g")
        with pytest.raises(StorageUnavailable, match="no PostgreSQL answers at"):
            await database.advance([CursorUpdate(talk.app, "ann", Cursor("g", 1, 1))])
        condition = await database.probe()
        assert (condition.readable, condition.writable) == (False, False)
        assert f"127.0.0.1:{server.port}" in condition.reason
    finally:
        server.start()
    assert await database.probe() == Condition(True, True)
    assert await talk.seqs("g") == [1]
    await talk.done(talk.send("g", "ann"))


async def test_idle_connections_that_died_are_not_noticed_by_anyone(
    database: PostgresDatabase, server: LocalPostgres
) -> None:
    """A quick restart between two requests: the next read and the next write simply succeed."""
    talk = Talk(database)
    await talk.start("g", "ann")
    for _ in range(3):
        await asyncio.gather(*(talk.seqs("g") for _ in range(5)))  # so that several connections idle
        server.kill()
        server.start()
        assert len(await talk.seqs("g")) >= 1
        server.restart()
        await talk.done(talk.send("g", "ann"))


async def test_a_frozen_server_is_given_up_in_time(open_node: OpenNode, server: LocalPostgres) -> None:
    """Its kernel still acknowledges what it is sent; only our own time limits end the wait."""
    talk = Talk(await open_node())
    await talk.done(talk.group("g", "ann"))
    hasty = await open_node(write_timeout_s=0.2, read_timeout_s=0.2)
    server.freeze()
    try:
        (outcome,) = await hasty.append([talk.send("g", "ann", "while frozen")])
        assert isinstance(outcome, Refused)
        assert outcome.code is Code.UNAVAILABLE
        with pytest.raises(StorageUnavailable, match="did not answer in time"):
            await hasty.heads(talk.app, ["g"])
    finally:
        server.thaw()
    await talk.done(talk.send("g", "ann", "after the thaw"))
    assert await talk.texts("g") == ["after the thaw"], "what had not reached COMMIT was undone"


async def test_a_commit_on_a_frozen_server_holds_no_writer_for_ever(
    open_node: OpenNode, server: LocalPostgres, watcher: Connection
) -> None:
    """The only writer hangs in COMMIT on a server that is then replaced: a probe sees that it is gone, and lets go."""
    talk = Talk(await open_node())
    await talk.done(talk.group("g", "ann"), talk.group("h", "ann"))
    node = await open_node(write_timeout_s=0.2, wait_timeout_s=0.2, probe_timeout_s=0.2, writers_max=1)
    await set_standby(server, watcher, "nobody")
    while not (
        stuck := [each.session for each in node._writer._running.values() if each.session is not None]
    ):
        await refused(node, talk.send("g", "ann", "in doubt"))
    await refused(node, talk.send("h", "ann"))
    assert stuck[0].committing
    stuck[0].backend = (0, "a process of the server that was there before")
    assert not (await node.probe()).writable
    await until(watcher, lambda: not node._writer._running)
    await set_standby(server, watcher, "")
    send = talk.send("h", "ann", "a writer is free")
    while not isinstance((await node.append([send]))[0], Appended):
        pass
    assert await talk.texts("h") == ["a writer is free"]


async def test_a_node_that_freezes_with_rows_locked_holds_up_the_others_for_seconds_only(
    database: PostgresDatabase, dsn: str, watcher: Connection
) -> None:
    """The server ends its transaction, sooner than the others give up waiting for the rows; thawed, it does no harm."""
    talk = Talk(database)
    await talk.start("g", "ann")
    frozen = await session.connect(Host("frozen", dsn), session.WRITER_SETTINGS)
    await begin_append(frozen.connection, talk.send("g", "ann", "never finished"))
    (sent,) = await talk.say("g", "ann", "waited for the rows")
    assert sent.seq == 2
    await until(watcher, frozen.connection.is_closed)
    assert await talk.texts("g") == ["waited for the rows"]


async def refused(node: PostgresDatabase, append: Append) -> None:
    (outcome,) = await node.append([append])
    assert isinstance(outcome, Refused)
    assert outcome.code is Code.UNAVAILABLE


async def test_a_reader_who_is_cancelled_takes_the_connection_along(
    database: PostgresDatabase, watcher: Connection
) -> None:
    """Its statement may still be at work, and a late cancel request must not hit whoever comes next."""

    async def read_slowly() -> None:
        async with database._readers.use() as session:
            await session.connection.execute("SELECT pg_sleep(60)")

    task = asyncio.ensure_future(read_slowly())
    await wait_until_waiting(watcher, "PgSleep")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    before = database.statistics()["connects"]
    assert await database.heads("app", []) == {}
    assert database.statistics()["connects"] == before + 1


async def test_a_read_only_database_refuses_sends_and_serves_reads(
    talk: Talk, server: LocalPostgres, watcher: Connection, open_node: OpenNode
) -> None:
    """As managed services do it when the disk is nearly full. A node that starts meanwhile serves reads as well."""
    await talk.start("g", "ann")
    server.configure(default_transaction_read_only=True)
    while await watcher.fetchval("SHOW default_transaction_read_only") != "on":
        pass
    assert await talk.code(talk.send("g", "ann", "no room")) is Code.STORAGE_FULL
    condition = await talk.database.probe()
    assert (condition.readable, condition.writable) == (True, False)
    assert "read-only" in condition.reason
    assert await talk.seqs("g") == [1]
    late = await open_node()
    assert await late.heads(talk.app, ["g"]) == {"g": 1}


async def test_a_full_disk_refuses_sends_and_serves_reads(talk: Talk, watcher: Connection) -> None:
    """What PostgreSQL says when a table cannot grow: nothing is stored, and the send may be repeated later."""
    await talk.done(talk.group("g", "ann"))
    await watcher.execute(
        "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;"
        "CREATE TRIGGER full_disk BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )
    batch = [talk.send("g", "ann", str(n)) for n in range(3)]
    outcomes = await talk.append(*batch)
    assert {each.code for each in outcomes if isinstance(each, Refused)} == {Code.STORAGE_FULL}
    assert await talk.seqs("g") == [1]
    await watcher.execute("DROP TRIGGER full_disk ON entry")
    assert [each.seq for each in await talk.done(*batch)] == [2, 3, 4]


@pytest.mark.parametrize("condition", ["data_corrupted", "index_corrupted", "io_error"])
async def test_a_damaged_page_refuses_what_touches_it_and_nothing_else(
    talk: Talk, watcher: Connection, condition: str
) -> None:
    """No ack, for whether such a send is in the log cannot be told; other logs are written, and all reads served."""
    await talk.done(talk.group("g", "ann"))
    await talk.done(talk.group("sound", "ann"))
    await watcher.execute(
        "CREATE OR REPLACE FUNCTION damaged() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION 'invalid page in block 7' USING ERRCODE = '{condition}'; END $$;"
        "CREATE TRIGGER damaged BEFORE INSERT ON entry FOR EACH ROW WHEN (new.conv = 'g') "
        "EXECUTE FUNCTION damaged()"
    )
    outcomes = await talk.append(*(talk.send("g", "ann", str(n)) for n in range(3)))
    assert [each.code for each in outcomes if isinstance(each, Refused)] == [Code.UNAVAILABLE] * 3
    assert all("damaged" in each.reason for each in outcomes if isinstance(each, Refused))
    assert [each.seq for each in await talk.done(talk.send("sound", "ann"))] == [2]
    assert (await talk.seqs("g"), await talk.seqs("sound")) == ([1], [1, 2])
    assert await talk.database.probe() == Condition(True, True)
    await watcher.execute("DROP TRIGGER damaged ON entry")


async def test_what_follows_a_send_that_must_be_repeated_does_not_overtake_it(
    talk: Talk, watcher: Connection
) -> None:
    """One bad append makes the batch be halved; while it is, the disk fills up for a moment. Order is kept."""
    await talk.done(talk.group("g", "ann"))
    await watcher.execute(
        "CREATE SEQUENCE attempts; CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF new.client_id LIKE 'poison%' THEN RAISE EXCEPTION 'poison' USING ERRCODE = 'check_violation'; END IF; "
        "IF new.client_id = '1' AND nextval('attempts') = 2 "
        "THEN RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'; END IF; RETURN new; END $$;"
        "CREATE TRIGGER fail_once BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION fail_once()"
    )
    batch: list[Append] = [talk.send("g", "ann", name, client_id=name) for name in ("1", "2", "3", "poison")]
    outcomes = await talk.append(*batch)
    await watcher.execute("DROP TRIGGER fail_once ON entry")
    assert [each.code for each in outcomes if isinstance(each, Refused)] == [Code.STORAGE_FULL] * 4
    assert await talk.seqs("g") == [1], "not even the sound ones, which came after one that is to be repeated"


async def test_ids_that_no_database_can_hold_are_unknown(talk: Talk) -> None:
    """Whatever a client asks about, the answer is the one for what does not exist; and nobody else is harmed."""
    await talk.start("g", "ann")
    database = talk.database
    for odd in ("nul\0", "lone \ud800"):
        for conv, user in ((odd, "ann"), ("g", odd), (odd, odd)):
            answer = await database.read(talk.app, conv, user, limit=1)
            assert isinstance(answer, Refused)
            assert answer.code is Code.NOT_MEMBER
            assert await database.member(talk.app, conv, user) is None
        assert await database.conversation(talk.app, odd) is None
        assert await database.members(talk.app, odd) == await database.members(talk.app, "g", after=odd) == []
        assert await database.heads(talk.app, [odd, "g"]) == {"g": 1}
        assert [each.summary.conv for each in await database.summaries(talk.app, "ann", [odd, "g"])] == ["g"]
        assert await database.users(talk.app, [odd]) == []
        assert await database.cursors(talk.app, odd, []) == []
        assert await database.cursors(talk.app, "g", [odd]) == []
        await database.advance(
            [
                CursorUpdate(talk.app, "ann", Cursor(odd, 1, 1)),
                CursorUpdate(talk.app, "ann", Cursor("g", 2**70, 2**70)),
            ]
        )
    (cursor,) = await database.cursors(talk.app, "g", [])
    assert (cursor.read, cursor.delivered) == (1, 1)


async def test_closing_waits_for_what_is_under_way(open_node: OpenNode) -> None:
    node = await open_node()
    talk = Talk(node)
    await talk.done(talk.group("g", "ann"))
    send = talk.send("g", "ann", "last words")
    task = asyncio.ensure_future(talk.append(send))
    await asyncio.sleep(0)
    await node.close()
    (outcome,) = await task
    assert not isinstance(outcome, Refused)
    other = await open_node()
    assert await other.heads(talk.app, ["g"]) == {"g": 2}
