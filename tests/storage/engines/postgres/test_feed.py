"""The feed while transactions overlap: readers wait for one that is late, and never skip it."""

from posthouse.storage.base import FEED_START
from posthouse.storage.engines.postgres import feed
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.testing.contracts.storage import Talk
from tests.storage.engines.postgres.watching import OpenNode, begin_append

# In order of number, without asking which transactions are still under way. Here to show what the engine must not do.
NAIVE = "SELECT xid, number, conv FROM entry WHERE (xid, number) > ($1::xid8, $2) ORDER BY xid, number"


async def test_an_entry_that_commits_late_is_not_skipped(talk: Talk, rival: Connection) -> None:
    """The hazard: a transaction that began first commits last, after a reader has passed its place."""
    await talk.done(talk.group("slow", "ann"), talk.group("quick", "ann"))
    start = naive_start = await talk.database.end()
    await begin_append(rival, talk.send("slow", "ann"))
    await talk.done(talk.send("quick", "ann"))
    early = await talk.database.tail(start, 10)
    assert early == [], "the quick one must wait for the slow one, whose place is before it"
    naive = [tuple(row) for row in await rival.fetch(NAIVE, *naive_start) if row["conv"] == "quick"]
    await rival.execute("COMMIT")
    late = [each.entry.conv for each in await talk.database.tail(start, 10)]
    assert late == ["slow", "quick"]
    (xid, number, _) = naive[-1]
    skipped = [row["conv"] for row in await rival.fetch(NAIVE, xid, number)]
    assert skipped == [], "the naive reader had passed the slow entry's place and never sees it"


async def test_the_end_lies_before_what_is_under_way(talk: Talk, rival: Connection) -> None:
    """Who starts at the end, or has read up to it, meets a transaction that was under way when it commits."""
    await talk.done(talk.group("slow", "ann"), talk.group("quick", "ann"))
    start = await talk.database.end()
    await begin_append(rival, talk.send("slow", "ann"))
    await talk.done(talk.send("quick", "ann"))
    end = await talk.database.end()
    assert await talk.database.changed(start, end) == {}
    await rival.execute("COMMIT")
    assert [each.entry.conv for each in await talk.database.tail(end, 10)] == ["slow", "quick"]
    later = await talk.database.end()
    assert await talk.database.changed(end, later) == {(talk.app, "slow"): 2, (talk.app, "quick"): 2}


async def test_a_transaction_that_is_rolled_back_leaves_no_trace(talk: Talk, rival: Connection) -> None:
    await talk.done(talk.group("g", "ann"))
    start = await talk.database.end()
    await begin_append(rival, talk.send("g", "ann", "undone"))
    await rival.execute("ROLLBACK")
    await talk.done(talk.send("g", "ann", "done"))
    assert [each.entry.seq for each in await talk.database.tail(start, 10)] == [2]


async def test_all_nodes_see_one_order(open_node: OpenNode) -> None:
    one, other = await open_node(), await open_node()
    talk = Talk(one)
    await talk.start("g", "ann", "ben")
    await talk.say("g", "ann", "1", "2", "3")
    assert await one.tail(FEED_START, 100) == await other.tail(FEED_START, 100)


async def plan_of(node: PostgresDatabase, sql: str, *arguments: object) -> str:
    """How a reader's session carries out a statement: not planned for these arguments, but once for all."""
    async with node._readers.use() as session:
        await session.connection.execute(f"PREPARE asked AS {sql}")
        values = ", ".join(f"'{argument}'" for argument in arguments)
        rows = await session.connection.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) EXECUTE asked ({values})")
        await session.connection.execute("DEALLOCATE asked")
    return "\n".join(row[0] for row in rows)


async def test_a_reader_who_is_up_to_date_reads_no_old_entries(database: PostgresDatabase) -> None:
    """However long the feed, asking for what is new walks an index from the reader's place on."""
    talk = Talk(database)
    await talk.done(talk.group("g", "ann"), *(talk.send("g", "ann") for _ in range(500)))
    end = await database.end()
    beyond = (end.transaction + 1_000, 0)
    for sql, arguments in (
        (feed._TAIL_ALL, (100,)),
        (feed._TAIL_FILTERED, (100, "{message}")),
        (feed._TAIL_RARE, (100, "{x.poll}")),
        (feed._CHANGED, beyond),
    ):
        plan = await plan_of(database, sql, *end, *arguments)
        assert "entry_feed" in plan, plan
        assert "Removed by Filter" not in plan, plan


async def test_a_reader_of_certain_kinds_reads_no_messages(database: PostgresDatabase) -> None:
    """Even one that begins at the start: an index of its own leaves out what most entries are."""
    talk = Talk(database)
    await talk.done(talk.group("g", "ann"), *(talk.send("g", "ann") for _ in range(500)))
    plan = await plan_of(database, feed._TAIL_RARE, *FEED_START, 100, "{conversation.created}")
    assert "entry_feed_rare" in plan, plan
