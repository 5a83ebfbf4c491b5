"""COMMIT: what is answered waits for the disk and the standby, and what is in doubt is settled, never hoped.

A server of its own, with fsync on. A standby that does not exist makes every COMMIT wait where a test wants it to.
"""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from posthouse.model.cursor import Cursor
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, CursorUpdate, Refused, StorageUnavailable
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.postgres import LocalPostgres
from tests.storage.engines.postgres.watching import (
    OpenNode,
    begin_append,
    connected,
    set_standby,
    until,
    wait_until_waiting,
    waiting_pids,
)

GHOST = "a standby that does not exist"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalPostgres]:
    with LocalPostgres(settings={"autovacuum": False}) as server:
        yield server


@pytest.fixture(autouse=True)
def standby_not_needed_afterwards(server: LocalPostgres) -> Iterator[None]:
    yield
    server.configure(synchronous_standby_names="")


@pytest.fixture
async def lonely(server: LocalPostgres, watcher: Connection, talk: Talk) -> Talk:
    """A group `g` of ann's, in a database that has just lost its synchronous standby."""
    await talk.done(talk.group("g", "ann"))
    await set_standby(server, watcher, GHOST)
    return talk


async def visible(watcher: Connection, talk: Talk) -> int:
    """How many messages the log shows to whoever looks now."""
    return int(
        await watcher.fetchval("SELECT count(*) FROM entry WHERE app = $1 AND kind = 'message'", talk.app)
    )


async def test_nothing_is_answered_before_the_standby_has_it(
    lonely: Talk, server: LocalPostgres, watcher: Connection
) -> None:
    """G1: no standby, no ack; when there need be none any more, the same COMMIT goes on and is answered."""
    task = asyncio.ensure_future(lonely.append(lonely.send("g", "ann", "wait for it")))
    await wait_until_waiting(watcher, "SyncRep")
    assert not task.done()
    assert await visible(watcher, lonely) == 0
    await set_standby(server, watcher, "")
    (outcome,) = await task
    assert isinstance(outcome, Appended)
    assert (outcome.seq, outcome.duplicate) == (2, False)


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_a_commit_whose_wait_is_cut_short_is_not_answered_until_it_is_settled(
    lonely: Talk, server: LocalPostgres, watcher: Connection, how: str
) -> None:
    """The hazard: PostgreSQL commits locally and reports success with a warning, or hangs up. That is no ack."""
    send = lonely.send("g", "ann", "cut short")
    task = asyncio.ensure_future(lonely.append(send))
    (pid,) = await wait_until_waiting(watcher, "SyncRep")
    await watcher.execute(f"SELECT {how}($1)", pid)
    while not await visible(watcher, lonely):
        pass
    await wait_until_waiting(watcher, "SyncRep")
    assert not task.done(), "committed here, and on no standby: asked again, which waits as well"
    await set_standby(server, watcher, "")
    (outcome,) = await task
    assert isinstance(outcome, Appended)
    assert outcome.seq == 2
    assert await lonely.texts("g") == ["cut short"]


@pytest.mark.parametrize("smart", [False, True])
async def test_a_shutdown_that_cuts_the_wait_short_is_no_acknowledgement(
    lonely: Talk, server: LocalPostgres, dsn: str, watcher: Connection, smart: bool
) -> None:
    """The server commits locally on its way out and shows the entry once it is back: that it is seen is no ack."""
    send = lonely.send("g", "ann", "cut short by a shutdown")
    task = asyncio.ensure_future(lonely.append(send))
    await wait_until_waiting(watcher, "SyncRep")
    if smart:  # it lets those who are connected finish: who waits for a standby goes on waiting
        assert server._server is not None
        server._server.send_signal(signal.SIGTERM)
        assert await waiting_pids(watcher, "SyncRep")
    await asyncio.to_thread(server.restart)
    async with connected(dsn) as other:
        assert await visible(other, lonely) == 1
        await wait_until_waiting(other, "SyncRep")
        assert not task.done()
        await set_standby(server, other, "")
        (outcome,) = await task
    assert isinstance(outcome, Appended)
    assert (outcome.seq, outcome.duplicate) == (2, True)


async def test_a_repetition_does_not_confirm_what_no_standby_has(
    open_node: OpenNode, server: LocalPostgres, watcher: Connection, rival: Connection
) -> None:
    """The entry is there for all to see, by another node's commit that was cut short. To answer is to promise."""
    node = await open_node()
    talk = Talk(node)
    await talk.done(talk.group("g", "ann"))
    send = talk.send("g", "ann", "seen, not safe")
    await rival.execute("SET application_name = 'posthouse'")
    await begin_append(rival, send)
    await set_standby(server, watcher, GHOST)
    commit = asyncio.ensure_future(rival.execute("COMMIT"))
    (pid,) = await wait_until_waiting(watcher, "SyncRep")
    await watcher.execute("SELECT pg_cancel_backend($1)", pid)
    assert await commit == "COMMIT", "this is the lie that the engine must not believe"
    await rival.execute("SET application_name = 'rival'")
    repetition = asyncio.ensure_future(talk.append(send))
    await wait_until_waiting(watcher, "SyncRep")
    assert not repetition.done()
    await set_standby(server, watcher, "")
    (outcome,) = await repetition
    assert isinstance(outcome, Appended)
    assert (outcome.seq, outcome.duplicate) == (2, True)


async def test_a_primary_whose_writes_wait_is_connected_to_all_the_same(
    open_node: OpenNode, server: LocalPostgres, watcher: Connection, rival: Connection
) -> None:
    """One that was just promoted, has no standby yet, and was written to by a node that knows of no reigns."""
    talk = Talk(await open_node())
    await talk.start("g", "ann")
    await watcher.execute("UPDATE meta SET timeline = 0")
    await set_standby(server, watcher, GHOST)
    await rival.execute("BEGIN")
    await rival.execute("UPDATE meta SET probed_ms = 1")
    commit = asyncio.ensure_future(rival.execute("COMMIT"))
    node = await open_node(write_timeout_s=1)
    assert await node.heads(talk.app, ["g"]) == {"g": 1}
    assert node._reign == ""
    await set_standby(server, watcher, "")
    await commit
    assert (await open_node())._reign


async def test_what_stays_in_doubt_is_refused_as_such_and_settled_by_a_repetition(
    lonely: Talk, open_node: OpenNode, server: LocalPostgres, watcher: Connection
) -> None:
    """G6: the deadline passes, the answer is UNAVAILABLE; repeated later, the send is there once, under one seq."""
    hasty = await open_node(write_timeout_s=0.3)
    send = lonely.send("g", "ann", "in doubt")
    while not await waiting_pids(watcher, "SyncRep"):
        await refused(hasty, send)
    await refused(hasty, send)
    await set_standby(server, watcher, "")
    (outcome,) = await lonely.done(send)
    assert (outcome.seq, outcome.duplicate) == (2, True)
    assert await lonely.texts("g") == ["in doubt"]


async def test_what_is_in_doubt_and_not_wanted_any_more_is_not_tried_again_and_again(
    lonely: Talk, watcher: Connection
) -> None:
    """Nor is it said that nothing was stored."""
    send, wanted = lonely.send("g", "ann", "in doubt"), [True]
    database = lonely.database
    assert isinstance(database, PostgresDatabase)
    task = asyncio.ensure_future(database.append([send], lambda: wanted[0]))
    (pid,) = await wait_until_waiting(watcher, "SyncRep")
    wanted[0] = False
    await watcher.execute("SELECT pg_cancel_backend($1)", pid)
    (outcome,) = await task
    assert isinstance(outcome, Refused)
    assert outcome.code is Code.UNAVAILABLE
    assert database._writer.retried == 1


async def test_commits_that_hang_use_up_no_more_connections_than_there_are_writers(
    lonely: Talk, open_node: OpenNode, server: LocalPostgres, watcher: Connection
) -> None:
    """G7: the standby is away for long; write after write is refused, and the server's connections do not run out."""
    node = await open_node(write_timeout_s=0.2, wait_timeout_s=0.1, probe_timeout_s=0.2, writers_max=2)
    for n in range(8):
        await refused(node, lonely.group(f"g{n}", "ann"))
        condition = await node.probe()
        assert (condition.readable, condition.writable) == (True, False)
        assert condition.reason
    assert 1 <= len(await waiting_pids(watcher, "SyncRep")) <= 3, "two writers and the probe"
    await set_standby(server, watcher, "")
    while not (await node.probe()).writable:
        pass
    while not isinstance((await node.append([lonely.send("g", "ann")]))[0], Appended):
        pass


async def refused(node: PostgresDatabase, append: Append) -> None:
    (outcome,) = await node.append([append])
    assert isinstance(outcome, Refused)
    assert outcome.code is Code.UNAVAILABLE


async def test_cursors_and_users_wait_for_the_standby_too(
    lonely: Talk, open_node: OpenNode, server: LocalPostgres, watcher: Connection
) -> None:
    """Durable means the same for all that is said to be durable; a cursor that need not move is no exception."""
    moved = [CursorUpdate(lonely.app, "ann", Cursor("g", 1, 1))]
    for _ in range(2):
        await set_standby(server, watcher, GHOST)
        task = asyncio.ensure_future(lonely.database.advance(moved))
        await wait_until_waiting(watcher, "SyncRep")
        assert not task.done()
        await set_standby(server, watcher, "")
        await task
    hasty = await open_node(write_timeout_s=0.1)
    await set_standby(server, watcher, GHOST)
    with pytest.raises(StorageUnavailable, match="no certain answer"):
        await hasty.advance([CursorUpdate(lonely.app, "ann", Cursor("g", 1, 1))])


async def test_a_caller_who_is_cancelled_does_not_cancel_the_commit(
    lonely: Talk, server: LocalPostgres, watcher: Connection
) -> None:
    """The caller goes away while COMMIT waits; PostgreSQL is not told to stop waiting."""
    send = lonely.send("g", "ann", "left alone")
    task = asyncio.ensure_future(lonely.append(send))
    pids = await wait_until_waiting(watcher, "SyncRep")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    for _ in range(20):
        assert await waiting_pids(watcher, "SyncRep") == pids
    assert await visible(watcher, lonely) == 0
    await set_standby(server, watcher, "")
    (outcome,) = await lonely.done(send)
    assert (outcome.seq, outcome.duplicate) == (2, True)


async def test_a_connection_that_ends_before_commit_costs_nothing(
    talk: Talk, watcher: Connection, rival: Connection
) -> None:
    """Nothing was done, for certain: the engine does it again on a new connection, and answers as if nothing were."""
    await talk.done(talk.group("g", "ann"))
    await begin_append(rival, talk.send("g", "ann", "first"))
    task = asyncio.ensure_future(talk.append(talk.send("g", "ann", "second")))
    (pid,) = await wait_until_waiting(watcher, "Lock")
    await watcher.execute("SELECT pg_terminate_backend($1)", pid)
    await wait_until_waiting(watcher, "Lock")
    await rival.execute("COMMIT")
    (outcome,) = await task
    assert isinstance(outcome, Appended)
    assert (outcome.seq, outcome.duplicate) == (3, False)
    assert await talk.texts("g") == ["first", "second"]


async def test_a_statement_that_an_operator_cancels_is_done_again(
    database: PostgresDatabase, watcher: Connection, rival: Connection
) -> None:
    """Before COMMIT a cancellation undoes everything, so nothing is in doubt and the send need not be refused."""
    talk = Talk(database)
    await talk.done(talk.group("g", "ann"))
    await begin_append(rival, talk.send("g", "ann", "first"))
    task = asyncio.ensure_future(talk.append(talk.send("g", "ann", "second")))
    (pid,) = await wait_until_waiting(watcher, "Lock")
    await watcher.execute("SELECT pg_cancel_backend($1)", pid)
    await until(watcher, lambda: database.statistics()["retried"] == 1)
    await rival.execute("COMMIT")
    (outcome,) = await task
    assert isinstance(outcome, Appended)
    assert await talk.texts("g") == ["first", "second"]


async def test_the_server_dies_while_many_send_and_no_ack_is_lost(
    open_node: OpenNode, server: LocalPostgres
) -> None:
    """G1, G2: SIGKILL of every process of the server, several times, with fsync on; then everything is sent again."""
    nodes = [await open_node(write_timeout_s=5), await open_node(write_timeout_s=5)]
    talk = Talk(nodes[0])
    logs = [f"g{n}" for n in range(5)]
    await talk.done(*(talk.group(log, "ann") for log in logs))
    acked: dict[str, int] = {}
    sends = [talk.send(logs[n % 5], "ann", str(n)) for n in range(2_000)]
    stop = asyncio.Event()

    async def send_on(node: int) -> None:
        for at in range(node, len(sends), 20):
            if stop.is_set():
                return
            batch = sends[at : at + 10]
            for send, outcome in zip(batch, await nodes[node % 2].append(batch), strict=True):
                if isinstance(outcome, Appended):
                    assert acked.setdefault(send.client_id, outcome.seq) == outcome.seq
                else:
                    assert outcome.code is Code.UNAVAILABLE

    async def kill_now_and_then() -> None:
        for turn in range(4):
            enough = len(acked) + 40 + 13 * turn
            while len(acked) < enough and not all(sender.done() for sender in senders):
                await asyncio.wait(senders, timeout=0.001)
            server.kill()
            await asyncio.sleep(0.01)
            server.start()
        stop.set()

    senders = [asyncio.ensure_future(send_on(node)) for node in range(0, 20, 10)]
    await asyncio.gather(kill_now_and_then(), *senders)
    assert len(acked) > 100
    again = await talk.done(*sends)
    for send, outcome in zip(sends, again, strict=True):
        assert outcome.seq == acked.get(send.client_id, outcome.seq), "an ack names the same entry for ever"
        assert outcome.duplicate or send.client_id not in acked, "acknowledged, and not there any more"
    for log in logs:
        assert await talk.seqs(log) == list(range(1, 402))


async def test_settings_of_the_role_do_not_weaken_a_commit(
    server: LocalPostgres, dsn: str, watcher: Connection, open_node: OpenNode
) -> None:
    """An operator's defaults for the role may be anything; a write session has those that G1 stands on."""
    weak = {"synchronous_commit": "off", "statement_timeout": "4321ms", "client_min_messages": "error"}
    for name, value in weak.items():
        await watcher.execute(f"ALTER ROLE CURRENT_USER SET {name} = '{value}'")
    try:
        async with connected(dsn) as plain:
            assert [await plain.fetchval(f"SHOW {name}") for name in weak] == list(weak.values())
        node = await open_node()
        async with node._writers.use() as session:
            shown = [await session.connection.fetchval(f"SHOW {name}") for name in weak]
        assert shown == ["on", "0", "warning"]
    finally:
        for name in weak:
            await watcher.execute(f"ALTER ROLE CURRENT_USER RESET {name}")
