"""A shard moves to another database while it is written: all of it arrives, once, and nobody writes the old one."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import asyncpg
import pytest

from posthouse.model.conversation import Role
from posthouse.model.cursor import Cursor
from posthouse.model.ids import account_id
from posthouse.storage.base import FEED_START, Appended, CursorUpdate, Database, User
from posthouse.storage.engines.postgres import moving
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.contracts.storage.talk import whole_list
from posthouse.testing.postgres import LocalPostgres
from tests.storage.engines.postgres.pair import Node, node_on, two_databases


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
    """Another node, whose map is as it was when the test began."""
    async with node_on(dsns) as node:
        yield node


@pytest.fixture
def talk(node: Node) -> Talk:
    return Talk(cast("Database", node.routed))


async def _fill(talk: Talk) -> dict[str, Any]:
    """A group with all that may belong to one, and what is seen of it."""
    await talk.start("g", "ann", "ben", title="Rain")
    await talk.done(talk.send("g", "ann", "one", client_id="first", mentions=("ben",)))
    await talk.done(talk.join("g", "cat"), talk.listed("g", "cat", 3), talk.leave("g", "cat"))
    await talk.done(talk.send("g", "ben", "two", kind="x.poll"), talk.send("g", "ann", "x" * 30_000))
    await talk.database.advance([CursorUpdate(talk.app, "ben", Cursor("g", 1, 2))])
    await talk.database.put_user(talk.app, User(user="ann", name="Ann", blocked=True))
    return await _seen(talk)


async def _seen(talk: Talk) -> dict[str, Any]:
    database, app = talk.database, talk.app
    return {
        "entries": {user: await talk.entries("g", user) for user in ("ann", "cat", None)},
        "conversation": await database.conversation(app, "g"),
        "members": await database.members(app, "g"),
        "cursors": await database.cursors(app, "g", []),
        "lists": [await whole_list(talk, user) for user in ("ann", "ben", "cat")],
        "inboxes": await database.inboxes(app, ["ann", "ben", "cat"]),
        "account": await talk.entries(account_id("ann")),
        "users": await database.users(app, ["ann", "ben"]),
        "blocked": await database.blocked(app),
    }


async def test_everything_of_a_shard_is_the_same_after_a_move(node: Node, talk: Talk) -> None:
    """Entries, members, mentions, cursors, inboxes, users; there and back, and once more."""
    before = await _fill(talk)
    for _ in range(3):
        for log in ("g", account_id("ann"), account_id("ben")):
            await node.move(node.shard(talk.app, log))
        assert await _seen(talk) == before


async def test_a_send_repeated_after_the_move_is_a_duplicate(node: Node, talk: Talk) -> None:
    """What deduplicates travels along (G2)."""
    await _fill(talk)
    await node.move(node.shard(talk.app, "g"))
    (again,) = await talk.done(talk.send("g", "ann", "one", client_id="first", mentions=("ben",)))
    assert (again.seq, again.duplicate) == (2, True)
    (next_,) = await talk.done(talk.send("g", "ann", "after"))
    assert not next_.duplicate
    assert [each.seq for each in await talk.entries("g")] == list(range(1, next_.seq + 1))


async def test_what_arrives_counts_as_already_read(node: Node, talk: Talk) -> None:
    """Nobody is notified twice: no reader of the new database's feed sees it, wherever it stands."""
    await _fill(talk)
    shard = node.shard(talk.app, "g")
    source = node.engine(node.owner(shard))
    await node.move(shard)
    await node.databases.reload()
    target = node.engine(node.owner(shard))
    assert target is not source
    items = await target.tail(FEED_START, 100_000)
    assert [each for each in items if (each.app, each.entry.conv) == (talk.app, "g")] == []
    await talk.done(talk.send("g", "ann", "new"))
    items = await target.tail(FEED_START, 100_000)
    assert [each.entry.sender for each in items if (each.app, each.entry.conv) == (talk.app, "g")] == ["ann"]


async def test_a_node_with_the_old_map_is_sent_on(node: Node, old_node: Node, talk: Talk) -> None:
    """It writes and reads by its old map, is refused, loads the map and finds the new place."""
    await _fill(talk)
    await node.move(node.shard(talk.app, "g"))
    await talk.done(talk.send("g", "ann", "new"))
    old = Talk(cast("Database", old_node.routed))
    old.app = talk.app
    assert (await old.entries("g")) == await talk.entries("g")
    await node.move(node.shard(talk.app, "g"))
    (outcome,) = await old.append(talk.send("g", "ann", "newer"))
    assert isinstance(outcome, Appended)
    assert await talk.texts("g") == await old.texts("g")


async def test_what_a_shard_left_behind_stays_until_the_readers_have_passed_it(
    node: Node, talk: Talk, dsns: dict[str, str]
) -> None:
    await _fill(talk)
    shard = node.shard(talk.app, "g")
    name = node.owner(shard)
    source = node.engine(name)
    reader = f"reader of {talk.app}"
    await source.store_position(reader, await source.end())
    await talk.done(talk.send("g", "ann", "unread"))
    await node.move(shard)
    assert shard in await moving.left(source)
    assert reader in await moving.behind(source, shard)
    await source.store_position(reader, await source.end())
    for other in ("roster", "repair"):
        await source.store_position(other, await source.end())
    assert await moving.behind(source, shard) == []
    assert await moving.clear(source, shard) > 0
    assert shard not in await moving.left(source)
    connection = await asyncpg.connect(dsns[name])
    for table in ("log", "entry", "member", "mention", "cursor"):
        sql = f"SELECT count(*) FROM {table} WHERE app = $1 AND conv = 'g'"
        assert await connection.fetchval(sql, talk.app) == 0
    await connection.close()
    assert (await talk.texts("g"))[-1] == "unread"
    await talk.done(talk.join("g", "dan", role=Role.MEMBER))
