"""A primary dies, freezes or is demoted under nodes at work, and a replica takes its place: real servers, streaming."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, Refused, StorageUnavailable
from posthouse.storage.engines.postgres.database import PostgresDatabase, PostgresLimits
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.postgres_cluster import LocalPostgresCluster, Member
from tests.storage.engines.postgres.watching import OpenNode, begin_append, connected

LOGS = [f"g{n}" for n in range(4)]


@pytest.fixture
def cluster() -> Iterator[LocalPostgresCluster]:
    """A primary m0, a synchronous replica m1 and another one m2."""
    with LocalPostgresCluster(2, settings={"fsync": False, "autovacuum": False}) as cluster:
        yield cluster


@pytest.fixture
async def open_node(cluster: LocalPostgresCluster) -> AsyncIterator[OpenNode]:
    """Opens the database by the address that names all members."""
    opened: list[PostgresDatabase] = []

    async def open_node(**limits: Any) -> PostgresDatabase:
        database = PostgresDatabase(cluster.dsn(), SystemClock(), PostgresLimits(**limits))
        opened.append(database)
        await database.open()
        return database

    yield open_node
    await asyncio.gather(*(database.close() for database in opened))


async def pause() -> None:
    await SystemClock().sleep(0.01)


async def cut_off(cluster: LocalPostgresCluster, replica: Member) -> None:
    """A replica hears nothing of the primary any more."""
    replica.configure(primary_conninfo="")
    while replica.name in cluster.primary.sql("SELECT application_name FROM pg_stat_replication"):
        await pause()


class Stream:
    """Sends batch after batch to four logs, each batch until it is acknowledged; remembers every answer."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.acked: dict[str, int] = {}
        self.contradicted: list[str] = []
        self.refused: set[Code] = set()
        self.sends: list[Append] = []
        self.stop = asyncio.Event()

    async def run(self, node: PostgresDatabase, conv: str) -> None:
        while not self.stop.is_set():
            batch = [self.talk.send(conv, "ann", str(n)) for n in range(5)]
            self.sends += batch
            while not await self._answered(node, batch):
                await pause()

    async def _answered(self, node: PostgresDatabase, batch: Sequence[Append]) -> bool:
        done = True
        for send, outcome in zip(batch, await node.append(batch), strict=True):
            if isinstance(outcome, Refused):
                done = False
                self.refused.add(outcome.code)
            elif self.acked.setdefault(send.client_id, outcome.seq) != outcome.seq:
                self.contradicted.append(send.client_id)
        return done

    async def more(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acked) + count
        while len(self.acked) < wanted:
            await pause()

    async def lost(self) -> list[str]:
        """What was acknowledged and is not in its log under its number; and whatever is there twice."""
        found: dict[str, int] = {}
        doubled = []
        for conv in LOGS:
            entries = await self.talk.entries(conv)
            assert [each.seq for each in entries] == list(range(1, len(entries) + 1))
            doubled += [each.client_id for each in entries if each.client_id in found]
            found |= {each.client_id: each.seq for each in entries}
        return doubled + [name for name, seq in self.acked.items() if found.get(name) != seq]


@asynccontextmanager
async def streaming(*nodes: PostgresDatabase) -> AsyncIterator[Stream]:
    """Sends to four logs on these nodes until the block ends; every send is acknowledged in the end."""
    stream = Stream(Talk(nodes[0]))
    await stream.talk.done(*(stream.talk.group(conv, "ann") for conv in LOGS))
    running = [
        asyncio.ensure_future(stream.run(nodes[at % len(nodes)], conv)) for at, conv in enumerate(LOGS)
    ]
    try:
        await stream.more(100)
        yield stream
        await stream.more(100)
        stream.stop.set()
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()


async def test_the_primary_is_killed_and_nothing_acknowledged_is_lost(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """G1, G5: every ack holds on the synchronous replica that was promoted, once, under its number."""
    nodes = [await open_node(), await open_node()]
    epoch = nodes[0].epoch
    async with streaming(*nodes) as stream:
        cluster.primary.kill()
        cluster.promote(cluster.members[1])
    assert await stream.lost() == []
    assert stream.contradicted == []
    assert stream.refused <= {Code.UNAVAILABLE}
    assert {node.epoch for node in nodes} == {epoch}, "a promotion changes nothing that clients have seen"
    assert len({node._reign for node in nodes}) == 1


async def test_a_reader_of_the_feed_skips_nothing_where_a_successor_gives_numbers_again(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """Numbers of transactions that were rolled back die with a primary before a replica has heard of them."""
    node = await open_node()
    talk = Talk(node)
    await talk.done(talk.group("g", "ann"))
    await cut_off(cluster, cluster.members[1])
    async with connected(cluster.primary.dsn()) as other:
        for _ in range(20):
            await other.execute("BEGIN; SELECT pg_current_xact_id(); ROLLBACK")
    reached = await node.end()
    cluster.primary.kill()
    cluster.promote(cluster.members[1])
    sends = [talk.send("g", "ann", str(n)) for n in range(5)]
    for send in sends:
        while not isinstance((await node.append([send]))[0], Appended):
            await pause()
    assert [each.entry.client_id for each in await node.tail(reached, 100)] == [
        each.client_id for each in sends
    ]


async def test_a_replica_that_nobody_waits_for_loses_what_was_acknowledged(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """The safeguard switched off, so that the test above is seen to fail; and what was lost changes the epoch."""
    node = await open_node()
    epoch = node.epoch
    replica = cluster.members[1]
    async with streaming(node) as stream:
        cluster.demand()
        await cut_off(cluster, replica)
        await stream.more(100)
        assert (await node.probe()).writable
        cluster.primary.kill()
        cluster.promote(replica)
    assert len(await stream.lost()) >= 100
    assert node.epoch != epoch


async def test_the_primary_freezes_and_is_replaced(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """Its connections stay open and say nothing. What hung there in COMMIT is settled on the successor; thawed, the
    old one is left alone, by a node that starts then too."""
    node = await open_node()
    old = cluster.primary
    async with streaming(node) as stream:
        old.freeze()
        cluster.promote(cluster.members[1])
        await stream.more(100)
        old.thaw()
        newcomer = await open_node()
        assert newcomer._watch.primary().name.startswith(f"127.0.0.1:{cluster.primary.port}")
    assert node._watch.primary() == newcomer._watch.primary()
    assert await stream.lost() == []
    assert stream.contradicted == []


async def test_a_frozen_primary_without_a_successor_is_told_of_at_once_and_found_again(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """Readers do not queue up before a server that has been silent for seconds."""
    node = await open_node(read_timeout_s=60)
    talk = Talk(node)
    await talk.start("g", "ann")
    cluster.primary.freeze()
    with pytest.raises(StorageUnavailable):  # one that was under way is not waited for any longer either
        await node.heads(talk.app, ["g"])
    assert node._watch._current is None
    with pytest.raises(StorageUnavailable, match=r"no primary: .* is away: .* did not answer"):
        await node.heads(talk.app, ["g"])
    condition = await node.probe()
    assert (condition.readable, condition.writable) == (False, False)
    cluster.primary.thaw()
    while not (await node.probe()).writable:
        await pause()
    assert await talk.seqs("g") == [1]


async def test_a_frozen_first_host_does_not_hide_the_others(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """All hosts are asked at once, so a start costs a frozen one's first look and no more."""
    cluster.demand(cluster.members[2])
    cluster.promote(cluster.members[1])
    cluster.members[0].freeze()
    node = await open_node()
    assert (await node.probe()).writable
    (frozen,) = [each for each in node.hosts() if str(cluster.members[0].port) in each.host.name]
    assert frozen.role in ("unknown", "away")
    cluster.members[0].thaw()


async def test_a_primary_that_is_demoted_is_left_for_its_successor(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """A planned switchover: stopped in order, promoted, and the old one back as a replica of the new one."""
    node = await open_node()
    old, new = cluster.members[0], cluster.members[1]
    async with streaming(node) as stream:
        old.stop()
        cluster.promote(new)
        old.follow(new)
        cluster.wait_until_streaming(old)
        cluster.demand(old)
    assert await stream.lost() == []
    while any(each.role == "away" for each in node.hosts()):
        await pause()
    assert [each.role for each in node.hosts()] == ["standby", "primary", "standby"]
    assert stream.refused <= {Code.UNAVAILABLE}, "a demoted server's refusal to write is no full disk"


async def test_without_its_synchronous_replica_nothing_is_acknowledged_until_another_takes_its_place(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """G6: m1 freezes and sends stall, as long as m1 must confirm; once it is m2, they go on by themselves."""
    node = await open_node(probe_timeout_s=0.5)
    async with streaming(node) as stream:
        cluster.members[1].freeze()
        before = -1
        while before != len(stream.acked):  # what m1 had confirmed is still being answered
            before = len(stream.acked)
            await SystemClock().sleep(0.3)
        condition = await node.probe()
        assert (condition.readable, condition.writable) == (True, False)
        assert len(stream.acked) == before
        cluster.demand(cluster.members[2])
    cluster.members[1].thaw()
    assert await stream.lost() == []
    assert stream.contradicted == []


async def test_a_database_that_was_put_back_to_an_older_state_has_another_epoch(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """From a physical backup, on the same timeline: nothing in it tells, but the node remembers what it was told."""
    cluster.demand()
    node = await open_node()
    talk = Talk(node)
    await talk.start("g", "ann")
    epoch, primary = node.epoch, cluster.primary
    primary.stop()
    backup = primary.folder / "backup"
    shutil.copytree(primary.data, backup, symlinks=True)
    primary.start()
    while not (await node.probe()).writable:
        await pause()
    assert node.epoch == epoch, "a restart is no restore"
    await talk.say("g", "ann", "to be lost")
    assert (await node.probe()).writable
    primary.stop()
    owner, group = primary.data.owner(), primary.data.group()
    shutil.rmtree(primary.data)
    backup.rename(primary.data)
    for path in (primary.data, *primary.data.rglob("*")):
        shutil.chown(path, owner, group)
    primary.start()
    while not (await node.probe()).writable:
        await pause()
    assert node.epoch != epoch
    assert await talk.texts("g") == []
    again = await open_node()
    assert again.epoch == node.epoch


async def test_a_replica_that_a_failover_has_left_behind_shows_nothing_that_was_undone(
    cluster: LocalPostgresCluster, open_node: OpenNode
) -> None:
    """m2 got an entry that m1 never had, and was cut off when m1 took over. Under that number is another entry now."""
    node = await open_node()
    talk = Talk(node)
    await talk.start("g", "ann")
    await talk.say("g", "ann", *map(str, range(50)))
    m1, m2 = cluster.replicas
    cluster.wait_until_streaming(m1, m2)
    m1.configure(primary_conninfo="")
    while "m1" in cluster.primary.sql("SELECT application_name FROM pg_stat_replication"):
        await pause()
    async with connected(cluster.primary.dsn()) as undone:
        await begin_append(undone, talk.send("g", "ann", "undone"))
        committing = asyncio.ensure_future(undone.execute("COMMIT"))
        head = f"SELECT head FROM log WHERE app = '{talk.app}' AND conv = 'g'"
        while await asyncio.to_thread(m2.sql, head) != "52":
            await pause()
        before = node._reign
        cluster.primary.kill()
        cluster.promote(m1)
        await asyncio.gather(committing, return_exceptions=True)
    while not (await node.probe()).writable:
        await pause()
    await talk.say("g", "ann", "instead")
    for _ in range(10):
        assert (await talk.texts("g"))[-1] == "instead"
    assert node.statistics()["replica_behind"] >= 1, "it was asked, and not believed"
    (standing,) = [each for each in node._replicas._standings.values() if str(m2.port) in each.host.name]
    standing.suspended_until, node._reign = 0.0, before
    assert (await talk.texts("g"))[-1] == "undone", (
        "what would be shown if replicas of any reign were believed"
    )
