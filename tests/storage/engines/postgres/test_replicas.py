"""Heavy reads from streaming replicas: complete and acknowledged, or from the primary. Real servers, streaming.

m1 must confirm each write, m2 need not: so m2 may know of entries that nobody has been told are safe.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.base import Page
from posthouse.storage.engines.postgres import replicas, watch
from posthouse.storage.engines.postgres.database import PostgresDatabase, PostgresLimits
from posthouse.storage.engines.postgres.hosts import Host
from posthouse.storage.engines.postgres.replicas import is_complete
from posthouse.storage.visible import Span
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.contracts.storage.talk import seqs
from posthouse.testing.postgres_cluster import LocalPostgresCluster, Member

ENTRIES = 60


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalPostgresCluster]:
    with LocalPostgresCluster(2, settings={"fsync": False, "autovacuum": False}) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no frozen replica."""
    monkeypatch.setattr(replicas, "ANSWER_TIMEOUT_S", 5.0)
    monkeypatch.setattr(watch, "ASK_TIMEOUT_S", 5.0)


@pytest.fixture
async def database(cluster: LocalPostgresCluster) -> AsyncIterator[PostgresDatabase]:
    chance = random.Random(7)
    database = PostgresDatabase(
        cluster.dsn(), SystemClock(), PostgresLimits(write_timeout_s=60), uniform=chance.random
    )
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def talk(database: PostgresDatabase, cluster: LocalPostgresCluster) -> Talk:
    """A group `g` with many entries, all of which every replica has, and replicas that are known to be well."""
    talk = Talk(database)
    await talk.start("g", "ann")
    await talk.say("g", "ann", *(f"message {n}" for n in range(2, ENTRIES + 1)))
    await settled(database, cluster)
    return talk


async def pause() -> None:
    await SystemClock().sleep(0.02)


async def settled(database: PostgresDatabase, cluster: LocalPostgresCluster) -> None:
    """Until all replicas have replayed everything, and the watch has seen it."""
    cluster.wait_until_streaming(*cluster.replicas)
    while [each.role == "standby" and not each.lag_s for each in database.hosts()].count(True) < 2:
        await pause()
    for standing in database._replicas._standings.values():
        standing.suspended_until = 0.0


def counts(database: PostgresDatabase) -> dict[str, int]:
    """What replicas did so far."""
    return {name[8:]: count for name, count in database.statistics().items() if name.startswith("replica_")}


def since(database: PostgresDatabase, before: dict[str, int]) -> dict[str, int]:
    """What replicas did since then, without the zeros."""
    changes = {name: count - before[name] for name, count in counts(database).items()}
    return {name: count for name, count in changes.items() if count}


def host_of(database: PostgresDatabase, member: Member) -> Host:
    return next(each.host for each in database.hosts() if str(member.port) in each.host.name)


async def test_heavy_reads_go_to_replicas_and_light_ones_do_not(
    talk: Talk, database: PostgresDatabase
) -> None:
    """Both directions, with and without limits: what comes is what the primary gives."""
    ranges = [
        {"after": 0},
        {"before": 40},
        {"after": 10, "limit": 30},
        {"before": 50, "limit": 25},
        {"after": 60},
    ]
    before = counts(database)
    pages = [await talk.page("g", "ann", **range_) for range_ in ranges]
    assert since(database, before) == {"reads": 4}
    await talk.page("g", "ann", after=50)
    assert since(database, before) == {"reads": 4}
    database._reign = ""  # so that no replica is trusted
    assert [await talk.page("g", "ann", **range_) for range_ in ranges] == pages


async def test_the_policy_that_was_asked_for_chooses(talk: Talk, cluster: LocalPostgresCluster) -> None:
    """Each in turn, say; and many reads at once leave no replica out for longer than one failure would."""
    other = PostgresDatabase(cluster.dsn(), SystemClock(), replica_policy="round-robin")
    await other.open()
    await settled(other, cluster)
    for _ in range(6):
        await other.read(talk.app, "g", "ann", after=0, limit=100)
    standings = list(other._replicas._standings.values())
    assert [standing.sessions.connects for standing in standings] == [1, 1]
    assert counts(other)["reads"] == 6
    for _ in range(20):
        standings[0].suspend("fails")
    assert standings[0].suspended_until < SystemClock().monotonic() + 2 * replicas.SUSPENDED_S
    await other.close()


async def test_limits_of_bytes_cut_a_replicas_page_as_they_cut_the_primarys(
    talk: Talk, database: PostgresDatabase
) -> None:
    before = counts(database)
    pages = []
    for reign in (database._reign, ""):
        database._reign = reign
        for range_ in ({"after": 0}, {"before": 50}):
            page = await database.read(talk.app, "g", "ann", limit=1_000, bytes_max=200, **range_)
            assert isinstance(page, Page)
            pages.append(page)
    assert pages[:2] == pages[2:]
    assert 1 <= len(pages[0].entries) < 20
    assert since(database, before) == {"reads": 2}


async def test_an_entry_that_is_not_acknowledged_is_not_shown(
    talk: Talk, database: PostgresDatabase, cluster: LocalPostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """m1 is frozen, so a COMMIT waits; m2 shows the entry to whoever asks it, and we do not."""
    monkeypatch.setattr(replicas, "SUSPENDED_S", 60.0)
    m1, m2 = cluster.replicas
    m1.freeze()
    try:
        sending = asyncio.ensure_future(talk.append(talk.send("g", "ann", "not yet")))
        head = f"SELECT head FROM log WHERE app = '{talk.app}' AND conv = 'g'"
        while await asyncio.to_thread(m2.sql, head) != str(ENTRIES + 1):
            await pause()
        before = counts(database)
        database._replicas._standing(host_of(database, m1)).suspend("frozen")
        while since(database, before).get("reads", 0) < 3:
            page = await talk.page("g", "ann")
            assert (page.head, seqs(page.entries)[-1]) == (ENTRIES, ENTRIES)
        assert not sending.done()
    finally:
        m1.thaw()
    await sending
    assert (await talk.seqs("g"))[-1] == ENTRIES + 1


async def test_replicas_that_are_behind_are_passed_over_and_nothing_goes_back(
    talk: Talk, database: PostgresDatabase, cluster: LocalPostgresCluster
) -> None:
    """Replay is paused on both: a reader who has seen the newest entry sees it again each time."""
    for replica in cluster.replicas:
        replica.sql("SELECT pg_wal_replay_pause()")
    try:
        cluster.demand()
        (newest,) = await talk.say("g", "ann", "newest")
        before = counts(database)
        for range_ in ({"after": 0}, {"before": None}, {"after": 30}) * 4:
            asked = {name: value for name, value in range_.items() if value is not None}
            page = await database.read(talk.app, "g", "ann", limit=1_000, **asked)
            assert isinstance(page, Page)
            assert max(seqs(page.entries)) == newest.seq == page.head
        assert since(database, before)["behind"] >= 2
        assert "reads" not in since(database, before)
        page = await talk.page("g", "ann", after=0, limit=30)
        assert seqs(page.entries) == list(range(1, 31))
        while any(each.role == "standby" and each.lag_s < replicas.LAG_S_MAX for each in database.hosts()):
            await pause()
        before = counts(database)
        assert (await talk.seqs("g"))[-1] == newest.seq
        assert since(database, before) == {"nobody": 1}, "known to be behind, so not even asked"
    finally:
        for replica in cluster.replicas:
            replica.sql("SELECT pg_wal_replay_resume()")
    cluster.demand(cluster.members[1])
    await settled(database, cluster)
    before = counts(database)
    assert (await talk.seqs("g"))[-1] == newest.seq
    assert since(database, before) == {"reads": 1}


async def test_frozen_replicas_cost_one_bounded_wait_each(
    talk: Talk, database: PostgresDatabase, cluster: LocalPostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then they are left out, until they answer again; nobody who reads is refused."""
    monkeypatch.setattr(replicas, "SUSPENDED_S", 60.0)
    cluster.demand()
    for _ in range(8):  # a connection to each
        await talk.seqs("g")
    before = counts(database)
    monkeypatch.setattr(replicas, "ANSWER_TIMEOUT_S", 0.25)
    for replica in cluster.replicas:
        replica.freeze()
    try:
        for _ in range(20):
            assert (await talk.seqs("g"))[-1] == ENTRIES
        told = since(database, before)
        assert told["failures"] == 2
        assert told["nobody"] >= 10
    finally:
        monkeypatch.setattr(replicas, "ANSWER_TIMEOUT_S", 5.0)
        for replica in cluster.replicas:
            replica.thaw()
    cluster.demand(cluster.members[1])
    await settled(database, cluster)
    before = counts(database)
    await talk.seqs("g")
    assert since(database, before) == {"reads": 1}


async def test_a_replica_of_another_reign_is_not_believed(talk: Talk, database: PostgresDatabase) -> None:
    """One that a failover has left on its own may hold entries under numbers that now mean others."""
    own, database._reign = database._reign, "another primary's"
    before = counts(database)
    assert (await talk.seqs("g"))[-1] == ENTRIES
    assert since(database, before) == {"behind": 1}
    database._reign = own


@pytest.mark.parametrize(
    ("numbers", "rising", "limit", "head", "complete"),
    [
        ([3, 4, 5, 6], True, 9, 6, True),
        ([3, 4, 5, 6], True, 9, 9, True),
        ([3, 4], True, 9, 4, False),
        ([3, 4], True, 2, 4, True),
        ([3, 4], True, 9, 5, True),
        ([], True, 9, 2, False),
        ([], True, 9, 9, False),
        ([4, 5, 6], True, 9, 9, False),
        ([3, 5, 6], True, 9, 9, False),
        ([6, 5, 4, 3], False, 9, 6, True),
        ([6, 5], False, 9, 6, True),
        ([5, 4, 3], False, 9, 5, False),
        ([6, 5], False, 9, None, False),
    ],
)
def test_what_counts_as_complete(
    numbers: list[int], rising: bool, limit: int, head: int | None, complete: bool
) -> None:
    """Of the span 3..6, where the replica's log ends at `head`."""
    assert is_complete(numbers, Span(3, 6), rising, limit, head, may_be_empty=False) is complete
