"""Appends that meet: on one send, on one log, on each other's locks. Schedules are forced by holding locks."""

import asyncio
import random

import asyncpg
import pytest

from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, Refused
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.testing.contracts.storage import Talk
from tests.storage.engines.postgres.watching import OpenNode, begin_append, connected, wait_until_waiting

# Everything in one statement: it takes its snapshot when it begins, then waits for the row lock, and after that
# decides on what it saw before. Here to show what the engine must not do.
NAIVE = """
WITH held AS (SELECT head, ordinal FROM log WHERE app = $1 AND conv = $2 FOR UPDATE),
    known AS (SELECT seq FROM entry WHERE app = $1 AND conv = $2 AND client_id = $3),
    moved AS (UPDATE log SET head = log.head + 1 FROM held WHERE app = $1 AND conv = $2 AND NOT EXISTS (TABLE known))
INSERT INTO entry
    (app, conv, seq, shard, kind, sender, device, client_id, digest, at_ms, ordinal, reply_to, body, number)
SELECT $1, $2, held.head + 1, 0, 'message', 'ann', 'phone', $3, '', 0, held.ordinal + 1, 0, '{}', 1
FROM held WHERE NOT EXISTS (TABLE known)
"""
LOCK_LOG = "SELECT FROM log WHERE app = $1 AND conv = $2 FOR UPDATE"


async def hold_log(rival: Connection, talk: Talk, conv: str) -> None:
    await rival.execute("BEGIN")
    await rival.execute(LOCK_LOG, talk.app, conv)


@pytest.mark.parametrize("expected", [True, False], ids=["looked for", "left to the index"])
async def test_two_nodes_that_send_the_same_at_once_make_one_entry(
    open_node: OpenNode, watcher: Connection, rival: Connection, expected: bool
) -> None:
    """G2: both wait for the same log; the one that comes second answers with the other's entry, though it began before.

    A node that has met a repeated send lately looks for others: it finds the entry. Otherwise the unique index refuses
    the second copy, and the second attempt looks.
    """
    first, second = await open_node(), await open_node()
    talk = Talk(first)
    await talk.done(talk.group("g", "ann"))
    if expected:
        earlier = talk.send("g", "ann", "earlier")
        for node in (first, first, second, second):
            await node.append([earlier])
    before = [node.statistics()["retried"] for node in (first, second)]
    send = talk.send("g", "ann", "once")
    await hold_log(rival, talk, "g")
    appends = asyncio.gather(first.append([send]), second.append([send]))
    await wait_until_waiting(watcher, "Lock", 2)
    await rival.execute("COMMIT")
    (one,), (other,) = await appends
    assert isinstance(one, Appended)
    assert isinstance(other, Appended)
    assert (one.seq, {one.duplicate, other.duplicate}) == (other.seq, {False, True})
    assert await talk.texts("g") == (["earlier"] if expected else []) + ["once"]
    run_into = [node.statistics()["retried"] for node in (first, second)]
    assert sum(run_into) - sum(before) == (0 if expected else 1)


async def test_deduplicating_in_the_statement_that_takes_the_lock_would_write_twice(
    talk: Talk, watcher: Connection, rival: Connection, dsn: str
) -> None:
    """The hazard itself: of two naive statements on one send, the second does not see the first one's entry."""
    await talk.done(talk.group("g", "ann"))
    name = "posthouse"
    async with connected(dsn, application_name=name) as one, connected(dsn, application_name=name) as other:
        await hold_log(rival, talk, "g")
        naive = [each.execute(NAIVE, talk.app, "g", "once") for each in (one, other)]
        statements = asyncio.gather(*naive, return_exceptions=True)
        await wait_until_waiting(watcher, "Lock", 2)
        await rival.execute("COMMIT")
        results = await statements
    failures = [type(result) for result in results if isinstance(result, Exception)]
    assert failures == [asyncpg.UniqueViolationError], "only the unique index kept the second copy out"


async def test_a_log_stays_without_gaps_when_nodes_append_at_once(open_node: OpenNode) -> None:
    """G3: nobody takes a number that another has taken, and none is left out."""
    nodes = [await open_node() for _ in range(3)]
    talk = Talk(nodes[0])
    await talk.done(talk.group("g", "ann"))

    async def send_on(node: int) -> None:
        for n in range(15):
            (outcome,) = await nodes[node].append([talk.send("g", "ann", f"{node} {n}")])
            assert isinstance(outcome, Appended), outcome

    await asyncio.gather(*(send_on(node % 3) for node in range(6)))
    assert await talk.seqs("g") == list(range(1, 92))
    assert [node.statistics()["retried"] for node in nodes] == [0, 0, 0]


async def test_batches_over_the_same_logs_in_opposite_order_never_deadlock(open_node: OpenNode) -> None:
    """Every locker sorts: not one deadlock happens, so none need be mended by a second attempt."""
    nodes = [await open_node(), await open_node()]
    talk = Talk(nodes[0])
    logs = [f"g{n:02}" for n in range(20)]
    await talk.done(*(talk.group(log, "ann") for log in logs))

    async def send_all(node: int, order: list[str]) -> None:
        for _ in range(30):
            outcomes = await nodes[node].append([talk.send(log, "ann") for log in order])
            assert all(isinstance(outcome, Appended) for outcome in outcomes), outcomes

    await asyncio.gather(
        send_all(0, logs), send_all(1, logs[::-1]), send_all(0, logs), send_all(1, logs[::-1])
    )
    assert [node.statistics()["retried"] for node in nodes] == [0, 0]
    for log in logs:
        assert await talk.seqs(log) == list(range(1, 122))


async def test_logs_that_two_nodes_create_at_once_are_created_once(open_node: OpenNode) -> None:
    """Both users open their conversation in the same moment, each on another node, together with others."""
    nodes = [await open_node(), await open_node()]
    talk = Talk(nodes[0])
    for turn in range(15):
        pairs = [(f"a{turn}{n}", f"b{turn}{n}") for n in range(5)]
        creations = [talk.direct(*pair) for pair in pairs]
        theirs = [talk.direct(*pair) for pair in reversed(pairs)]
        mine, others = await asyncio.gather(nodes[0].append(creations), nodes[1].append(theirs))
        for one, other in zip(mine, reversed(others), strict=True):
            assert isinstance(one, Appended)
            assert isinstance(other, Appended)
            assert {one.duplicate, other.duplicate} == {True, False}


async def test_one_who_creates_what_another_is_creating_waits_and_is_told_of_it(
    talk: Talk, watcher: Connection, rival: Connection
) -> None:
    """Nobody holds a lock on a log that is not there yet: the primary key decides, and the loser looks again."""
    await begin_append(rival, talk.direct("ann", "ben"))
    task = asyncio.ensure_future(talk.append(talk.direct("ben", "ann")))
    await wait_until_waiting(watcher, "Lock")
    await rival.execute("COMMIT")
    (outcome,) = await task
    assert isinstance(outcome, Appended)
    assert (outcome.seq, outcome.duplicate) == (1, True)


async def test_a_removal_that_comes_first_refuses_the_send_that_waited_for_it(
    talk: Talk, watcher: Connection, rival: Connection
) -> None:
    """Membership is read under the log's lock: whoever was a member when the send began is asked again."""
    await talk.done(talk.group("g", "ann", "ben"))
    (removal,) = await begin_append(rival, talk.leave("g", "ben"))
    assert isinstance(removal, Appended)
    send = asyncio.ensure_future(talk.append(talk.send("g", "ben", "too late")))
    await wait_until_waiting(watcher, "Lock")
    await rival.execute("COMMIT")
    (outcome,) = await send
    assert isinstance(outcome, Refused)
    assert outcome.code is Code.NOT_MEMBER
    assert await talk.seqs("g") == [1, 2]


async def test_a_send_that_comes_first_stands_before_the_removal_that_waited_for_it(
    talk: Talk, watcher: Connection, rival: Connection
) -> None:
    """The log's order decides, whichever is first."""
    await talk.done(talk.group("g", "ann", "ben"))
    await begin_append(rival, talk.send("g", "ben", "just in time"))
    removal = asyncio.ensure_future(talk.append(talk.leave("g", "ben")))
    await wait_until_waiting(watcher, "Lock")
    await rival.execute("COMMIT")
    (outcome,) = await removal
    assert isinstance(outcome, Appended)
    assert outcome.seq == 3
    assert await talk.seqs("g", "ben") == [1, 2, 3]


async def test_a_batch_reads_its_own_rows_and_no_others(database: PostgresDatabase) -> None:
    """In tables that nobody has analysed yet the planner guesses; whatever it believes, each key is looked up."""
    talk = Talk(database)
    crowd = [f"u{n}" for n in range(900)]
    await talk.done(*(talk.group(f"g{n:03}", *crowd[n : n + 30]) for n in range(200)))
    batch = [talk.send(f"g{n:03}", crowd[n], mentions=(crowd[n + 1],)) for n in range(0, 200, 10)]
    async with database._writers.use() as session:
        before = await rows_read(session.connection)
        await begin_append(session.connection, *batch)
        after = await rows_read(session.connection)
        await session.connection.execute("ROLLBACK")
    read = {table: after[table] - before[table] for table in after}
    assert read["log"] == 2 * len(batch), "locked, then moved"
    assert read["member"] == 2 * len(batch), "the sender and the one who is mentioned"
    assert read["entry"] == 0, "no send is repeated"


async def rows_read(connection: Connection) -> dict[str, int]:
    """How many rows of each table the connection's statements have looked at."""
    rows = await connection.fetch(
        "SELECT relname, seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
    )
    return {table: read or 0 for table, read in rows}


@pytest.fixture
async def poisonous(database: PostgresDatabase, watcher: Connection) -> None:
    """The database refuses any entry that is called poison: stands for whatever no check of ours foresees."""
    await watcher.execute(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = 'check_violation'; END $$"
    )
    await watcher.execute(
        "CREATE OR REPLACE TRIGGER poison BEFORE INSERT ON entry FOR EACH ROW"
        " WHEN (new.client_id LIKE 'poison%') EXECUTE FUNCTION refuse()"
    )


@pytest.mark.usefixtures("poisonous")
@pytest.mark.parametrize("places", [(0,), (19,), (7,), (0, 1, 19), tuple(range(20))])
async def test_an_append_that_the_database_refuses_harms_only_itself(
    talk: Talk, places: tuple[int, ...]
) -> None:
    """Whatever place it has in the batch, the others are appended, and in their order."""
    await talk.done(talk.group("g", "ann"))
    batch = [talk.send("g", "ann", str(n)) for n in range(20)]
    for place in places:
        batch[place] = talk.send("g", "ann", str(place), client_id=f"poison {place}")
    outcomes = await talk.append(*batch)
    bad = [outcomes[place] for place in places]
    good = [outcome for place, outcome in enumerate(outcomes) if place not in places]
    assert all(isinstance(outcome, Refused) and outcome.code is Code.INVALID_REQUEST for outcome in bad), bad
    assert [outcome.seq for outcome in good if isinstance(outcome, Appended)] == list(
        range(2, 22 - len(places))
    )
    assert await talk.texts("g") == [str(n) for n in range(20) if n not in places]


async def test_a_log_held_for_too_long_is_a_refusal_to_be_repeated(
    open_node: OpenNode, watcher: Connection, rival: Connection
) -> None:
    """The wait for a lock ends with the write's time; nothing was done, and the repetition succeeds."""
    talk = Talk(await open_node())
    await talk.done(talk.group("g", "ann"))
    hasty = await open_node(write_timeout_s=0.2)
    send = talk.send("g", "ann", "patient")
    await hold_log(rival, talk, "g")
    (outcome,) = await hasty.append([send])
    assert isinstance(outcome, Refused)
    assert outcome.code is Code.UNAVAILABLE
    await rival.execute("ROLLBACK")
    (done,) = await talk.done(send)
    assert (done.seq, done.duplicate) == (2, False)


async def test_many_nodes_with_random_batches_keep_every_promise(open_node: OpenNode) -> None:
    """Sends, repetitions, joins and leaves from three nodes at once: each send once, each log whole, all agree."""
    dice = random.Random(7)
    nodes = [await open_node() for _ in range(3)]
    talk = Talk(nodes[0])
    logs = [f"g{n}" for n in range(4)]
    await talk.done(*(talk.group(log, "ann", "ben") for log in logs))
    sends = [talk.send(dice.choice(logs), "ann", str(n)) for n in range(150)]
    answers: dict[str, set[int]] = {}

    def some_batch() -> list[Append]:
        batch = dice.choices(sends, k=dice.randint(1, 12))
        if dice.random() < 0.3:
            batch.append(dice.choice([talk.join, talk.leave])(dice.choice(logs), f"u{dice.randint(0, 3)}"))
        return batch

    async def run(node: int) -> None:
        for _ in range(25):
            batch = some_batch()
            for append, outcome in zip(batch, await nodes[node].append(batch), strict=True):
                assert isinstance(outcome, Appended), outcome
                if append.change is None:
                    answers.setdefault(append.client_id, set()).add(outcome.seq)

    await asyncio.gather(*(run(n % 3) for n in range(6)))
    assert all(len(seqs) == 1 for seqs in answers.values()), "every answer to a send names the same seq"
    stored = {(entry.client_id, entry.seq) for log in logs for entry in await talk.entries(log)}
    assert {(client_id, seq) for client_id, (seq,) in answers.items()} <= stored
    for log in logs:
        entries = await talk.entries(log)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert len({(entry.client_id) for entry in entries}) == len(entries)
