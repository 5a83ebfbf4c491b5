"""What goes wrong while a shard moves: each safeguard has a schedule here in which it is needed, forced by locks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

import asyncpg
import pytest

from posthouse.model.cursor import Cursor
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Code
from posthouse.storage.base import Appended, CursorUpdate, Database, Moved, Refused, StorageUnavailable, User
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.moving import Step, Superseded
from posthouse.storage.engines.postgres.ownership import lock
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.postgres import LocalPostgres
from tests.storage.engines.postgres.pair import Node, node_on, two_databases
from tests.storage.engines.postgres.watching import begin_append, connected, wait_until_waiting

STEPS = (
    "begin at the target",
    "begin at the source",
    "copy",
    "freeze",
    "copy the rest",
    "compare",
    "give",
    "take",
)


class Killed(BaseException):
    """The mover's process is gone: nothing that it would have tidied is tidied."""


@pytest.fixture(scope="module")
def dsns(server: LocalPostgres) -> Iterator[dict[str, str]]:
    with two_databases([server]) as dsns:
        yield dsns


@pytest.fixture
async def node(dsns: dict[str, str]) -> AsyncIterator[Node]:
    async with node_on(dsns) as node:
        yield node


@pytest.fixture
async def old_node(dsns: dict[str, str]) -> AsyncIterator[Node]:
    async with node_on(dsns) as node:
        yield node


@pytest.fixture
def talk(node: Node) -> Talk:
    return Talk(cast("Database", node.routed))


@pytest.fixture
async def moved_away(node: Node, talk: Talk) -> str:
    """The name of the database that a group "g" lay in before it was moved."""
    await talk.start("g", "ann", "ben")
    shard = node.shard(talk.app, "g")
    name = node.owner(shard)
    await node.move(shard)
    return name


def at(step: str, do: Callable[[], Awaitable[Any]]) -> Step:
    """Do something before a step, the first time it is reached."""
    left = [step]

    async def before(reached: str) -> None:
        if left == [reached]:
            left.clear()
            await do()

    return before


async def kill() -> None:
    raise Killed


async def _until_done(talk: Talk, *texts: str) -> None:
    """Send as a client does: again while it is refused for now."""
    for text in texts:
        send = talk.send("g", "ann", text)
        outcome = (await talk.append(send))[0]
        while isinstance(outcome, Refused):
            assert outcome.code is Code.MOVED
            outcome = (await talk.append(send))[0]


# A node with an old map ------------------------------------------------------------------------------------------


async def test_the_old_database_takes_no_write(old_node: Node, talk: Talk, moved_away: str) -> None:
    """Checked in the transaction: entries, cursors and users alike, and others of the batch are not harmed."""
    old = old_node.engine(moved_away)
    here = next(f"h{n}" for n in range(1000) if old_node.databases.owner(talk.app, f"h{n}") == moved_away
                and old_node.shard(talk.app, f"h{n}") != old_node.shard(talk.app, "g"))  # fmt: skip
    outcomes = await old.append([talk.send("g", "ann"), talk.group(here, "ann"), talk.send("g", "ann")])
    assert isinstance(outcomes[0], Refused)
    assert [getattr(each, "code", None) for each in outcomes] == [Code.MOVED, None, Code.MOVED]
    with pytest.raises(Moved):
        await old.advance([CursorUpdate(talk.app, "ann", Cursor("g", 1))])
    assert await talk.texts("g") == []


async def test_the_old_database_answers_no_read(old_node: Node, talk: Talk, moved_away: str) -> None:
    """Its rows are still there, but no longer true."""
    await talk.say("g", "ann", "new")
    old, app = old_node.engine(moved_away), talk.app
    for ask in (
        old.read(app, "g", "ann", after=0, limit=9),
        old.conversation(app, "g"),
        old.members(app, "g"),
        old.member(app, "g", "ann"),
        old.memberships(app, [("ann", "g")]),
        old.heads(app, ["g"]),
        old.summaries(app, "ann", ["g"]),
        old.cursors(app, "g", []),
    ):
        with pytest.raises(Moved):
            await ask
    assert await old_node.routed.heads(app, ["g"]) == {"g": 2}


async def test_a_shard_that_left_and_came_back_is_looked_up_again(
    node: Node, old_node: Node, talk: Talk, moved_away: str
) -> None:
    """What the old node read may be from before it left: the epoch tells."""
    old = old_node.engine(moved_away)
    await node.move(node.shard(talk.app, "g"))
    with pytest.raises(Moved):
        await old.heads(talk.app, ["g"])
    assert await old.heads(talk.app, ["g"]) == {"g": 1}


async def test_a_user_who_was_unblocked_elsewhere_is_not_blocked_by_what_was_left(
    node: Node, talk: Talk
) -> None:
    await talk.database.put_user(talk.app, User(user="eve", blocked=True))
    shard = node.shard(talk.app, account_id("eve"))
    old = node.engine(node.owner(shard))
    await node.move(shard)
    await talk.database.put_user(talk.app, User(user="eve"))
    assert await old.blocked(talk.app) == await talk.database.blocked(talk.app) == []


# What is written meanwhile ---------------------------------------------------------------------------------------


async def test_what_is_written_after_the_copy_arrives_as_well(node: Node, talk: Talk) -> None:
    """Entries, members, mentions, cursors and users, all written between the copy and the freeze."""
    await talk.start("g", "ann", "ben")
    user = next(
        f"u{n}" for n in range(1000)
        if node.shard(talk.app, account_id(f"u{n}")) == node.shard(talk.app, "g")
    )  # fmt: skip

    async def write() -> None:
        await talk.done(talk.send("g", "ann", "late", mentions=("ben",)), talk.join("g", user))
        await talk.done(talk.listed("g", user, 3))
        await talk.database.advance([CursorUpdate(talk.app, "ben", Cursor("g", 2, 2))])
        await talk.database.put_user(talk.app, User(user=user, name="Late"))

    shard = node.shard(talk.app, "g")
    mover = await node.mover(shard, before=at("freeze", write))
    await mover.run()
    assert await talk.texts("g") == ["late"]
    assert [each.user for each in await talk.database.members(talk.app, "g")] == sorted(["ann", "ben", user])
    (ben,) = await talk.database.cursors(talk.app, "g", ["ben"])
    assert (ben.read, ben.delivered) == (2, 2)
    (late,) = await talk.database.users(talk.app, [user])
    assert late.name == "Late"
    (inbox,) = await talk.database.inboxes(talk.app, [user])
    assert inbox is not None
    assert inbox.convs == ("g",)


async def test_what_is_written_while_a_note_of_the_same_log_is_forgotten_is_noted_anew(
    node: Node, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mover deletes a note it has acted upon; a newer one of the same log must not go with it."""
    await talk.start("g", "ann")
    mover = await node.mover(node.shard(talk.app, "g"))
    transact = mover.source.transact
    written: list[object] = []

    async def write_first(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        if "_copy_noted" in work.__qualname__ and not written:
            written.append(await talk.append(talk.send("g", "ann", "two")))
        return await transact(work)

    monkeypatch.setattr(mover.source, "transact", write_first)
    await mover._begin()
    await mover._copy_all()
    await talk.say("g", "ann", "one")
    await mover._hand_over()
    await mover._take()
    assert written
    assert await talk.texts("g") == ["one", "two"]


async def test_a_write_that_began_before_the_freeze_is_waited_for(
    node: Node, talk: Talk, dsns: dict[str, str]
) -> None:
    """It holds the shard's lock: the mover lets writers go first and tries again, and nothing is lost."""
    await talk.start("g", "ann")
    shard = node.shard(talk.app, "g")
    async with connected(dsns[node.owner(shard)]) as writer, connected(dsns[node.owner(shard)]) as watcher:
        (outcome,) = await begin_append(writer, talk.send("g", "ann", "slow"))
        assert isinstance(outcome, Appended)
        move = asyncio.ensure_future((await node.mover(shard)).run())
        await wait_until_waiting(watcher, "advisory")
        await writer.execute("COMMIT")
        await move
    assert await talk.texts("g") == ["slow"]


async def test_a_write_that_waits_behind_the_mover_is_refused_when_the_shard_has_gone(
    node: Node, old_node: Node, talk: Talk, dsns: dict[str, str]
) -> None:
    """It reads who owns the shard in a statement after the one that waited for the lock, not before."""
    await talk.start("g", "ann")
    shard = node.shard(talk.app, "g")
    name = node.owner(shard)
    async with connected(dsns[name]) as mover, connected(dsns[name]) as watcher:
        await mover.execute("BEGIN")
        await lock(mover, shard)
        write = asyncio.ensure_future(old_node.engine(name).append([talk.send("g", "ann", "late")]))
        await wait_until_waiting(watcher, "advisory")
        await mover.execute("UPDATE shard SET database = 'elsewhere' WHERE shard = $1", shard)
        await mover.execute("COMMIT")
        (outcome,) = await write
        await mover.execute("UPDATE shard SET database = $2 WHERE shard = $1", shard, name)
    assert isinstance(outcome, Refused)
    assert outcome.code is Code.MOVED
    assert await talk.texts("g") == []


@pytest.mark.parametrize("step", ["compare", "give"])
async def test_a_freeze_that_ended_by_itself_gives_nothing_away(node: Node, talk: Talk, step: str) -> None:
    """Writers went on, and what they wrote was noted: so the mover begins its freeze anew."""
    await talk.start("g", "ann")

    async def wait_for_thaw() -> None:
        await _until_done(talk, "through the thaw")

    mover = await node.mover(node.shard(talk.app, "g"), before=at(step, wait_for_thaw))
    result = await mover.run()
    assert result.freezes == 2
    assert await talk.texts("g") == ["through the thaw"]


# A mover that is gone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
async def test_a_mover_killed_at_any_step_harms_nothing_and_the_next_one_finishes(
    node: Node, old_node: Node, talk: Talk, step: str
) -> None:
    """Writes go on at once, at the latest when the freeze has ended by itself; running it again finishes it."""
    await talk.start("g", "ann", "ben")
    await talk.say("g", "ann", "before")
    shard = node.shard(talk.app, "g")
    source = node.owner(shard)
    mover = await node.mover(shard, before=at(step, kill))
    with pytest.raises(Killed):
        await mover.run()
    await _until_done(talk, "meanwhile")
    again = await node.mover(shard, to=mover.target.name)
    if again.source is not again.target:
        await again.run()
    await talk.say("g", "ben", "after")
    assert await talk.texts("g") == ["before", "meanwhile", "after"]
    other = Talk(cast("Database", old_node.routed))
    other.app = talk.app
    assert await other.texts("g") == ["before", "meanwhile", "after"]
    await node.databases.reload()
    assert node.owner(shard) == mover.target.name != source


async def test_any_node_completes_what_was_given_but_not_taken(
    node: Node, old_node: Node, talk: Talk
) -> None:
    """The old database has handed over all there is: the new one takes it as soon as a node looks at the map."""
    await talk.start("g", "ann")
    mover = await node.mover(node.shard(talk.app, "g"), before=at("take", kill))
    with pytest.raises(Killed):
        await mover.run()
    assert await mover.source.append([talk.send("g", "ann")]) == await mover.target.append(
        [talk.send("g", "ann")]
    )
    await old_node.databases.reload()
    (outcome,) = await mover.target.append([talk.send("g", "ann", "taken")])
    assert isinstance(outcome, Appended)


async def test_a_mover_that_was_taken_for_dead_overwrites_nothing(node: Node, talk: Talk) -> None:
    """It wakes after another has finished, when the new database has been written for long."""
    await talk.start("g", "ann", "ben")
    shard = node.shard(talk.app, "g")

    async def another() -> None:
        other = await node.mover(shard, to=mover.target.name)
        await other.run()
        await talk.say("g", "ann", "newer")
        await talk.database.advance([CursorUpdate(talk.app, "ben", Cursor("g", 2, 2))])

    mover = await node.mover(shard, before=at("copy", another))
    with pytest.raises(Superseded):
        await mover.run()
    assert await talk.texts("g") == ["newer"]
    (ben,) = await talk.database.cursors(talk.app, "g", ["ben"])
    assert ben.read == 2
    await node.databases.reload()
    assert node.owner(shard) == mover.target.name


async def test_a_mover_that_was_silent_too_long_begins_anew(
    node: Node, talk: Talk, dsns: dict[str, str]
) -> None:
    """What was written meanwhile was not noted for it: going on would lose it."""
    await talk.start("g", "ann")
    shard = node.shard(talk.app, "g")

    async def sleep_through() -> None:
        connection = await asyncpg.connect(dsns[mover.source.name])
        await connection.execute("UPDATE shard SET noted_until = now() WHERE shard = $1", shard)
        await connection.close()
        await talk.say("g", "ann", "unnoted")

    mover = await node.mover(shard, before=at("freeze", sleep_through))
    with pytest.raises(StorageUnavailable):
        await mover.run()
    assert await talk.texts("g") == ["unnoted"]
    await (await node.mover(shard)).run()
    assert await talk.texts("g") == ["unnoted"]


@pytest.mark.parametrize("lost", [True, False], ids=["done", "not done"])
async def test_a_hand_over_in_doubt_is_looked_up(
    node: Node, talk: Talk, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """The connection broke during the commit that gives the shard away: the target lets go only if it was not."""
    await talk.start("g", "ann")
    shard = node.shard(talk.app, "g")
    mover = await node.mover(shard)
    transact = mover.source.transact
    armed: list[int] = []

    async def doubtful(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        if not armed:
            return await transact(work)
        armed.clear()
        if lost:
            await transact(work)
        raise StorageUnavailable("in doubt")

    async def arm() -> None:
        armed.append(1)

    mover.before = at("give", arm)
    monkeypatch.setattr(mover.source, "transact", doubtful)
    result = await mover.run()
    monkeypatch.undo()
    assert result.freezes == (1 if lost else 2)
    await talk.say("g", "ann", "after")
    assert await talk.texts("g") == ["after"]
    await node.databases.reload()
    assert node.owner(shard) == mover.target.name


async def test_a_mover_that_gives_up_after_all_was_given_takes_nothing_back(
    node: Node, old_node: Node, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the commit's answer nor the old database's row came through: a node completes the move."""
    await talk.start("g", "ann")
    shard = node.shard(talk.app, "g")
    mover = await node.mover(shard)
    transact, query = mover.source.transact, mover.source.query
    armed: list[str] = []

    async def lose_answer(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        done = await transact(work)
        if "answer" in armed:
            armed.remove("answer")
            raise StorageUnavailable("in doubt")
        return done

    async def lose_row(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        if armed == ["row"]:
            armed.clear()
            raise StorageUnavailable("away")
        return await query(work)

    async def arm() -> None:
        armed.extend(["answer", "row"])

    mover.before = at("give", arm)
    monkeypatch.setattr(mover.source, "transact", lose_answer)
    monkeypatch.setattr(mover.source, "query", lose_row)
    with pytest.raises(StorageUnavailable):
        await mover.run()
    await old_node.databases.reload()
    await talk.say("g", "ann", "after")
    assert await talk.texts("g") == ["after"]
    await node.databases.reload()
    assert node.owner(shard) == mover.target.name


async def test_a_copy_that_differs_is_not_handed_over(node: Node, talk: Talk, dsns: dict[str, str]) -> None:
    """Should a row have been missed, the shard stays where it is."""
    await talk.start("g", "ann")
    shard = node.shard(talk.app, "g")

    async def lose() -> None:
        connection = await asyncpg.connect(dsns[mover.target.name])
        await connection.execute("DELETE FROM log WHERE app = $1 AND conv = 'g'", talk.app)
        await connection.close()

    mover = await node.mover(shard, before=at("freeze", lose))
    with pytest.raises(Exception, match="differs"):
        await mover.run()
    await talk.say("g", "ann", "still here")
    await node.databases.reload()
    assert node.owner(shard) == mover.source.name
    await node.move(shard)
    assert await talk.texts("g") == ["still here"]
