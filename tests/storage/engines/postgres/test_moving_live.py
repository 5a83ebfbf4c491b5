"""Shards move back and forth between two real servers while two nodes write: nothing is lost, doubled or reordered."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from statistics import median
from typing import cast

import msgspec
import pytest

from posthouse.messaging.readers import ROSTER_KINDS, account_appends
from posthouse.model.conversation import Role
from posthouse.model.cursor import Cursor
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, MESSAGE, Entry
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Action, action_of
from posthouse.storage.base import (
    FEED_START,
    Append,
    Appended,
    CursorUpdate,
    Database,
    FeedPosition,
    Outcome,
    PartlyUnavailable,
    Refused,
    StorageUnavailable,
)
from posthouse.storage.engines.postgres import moving
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.postgres import LocalPostgres
from tests.storage.engines.postgres.pair import CLOCK, A, B, Node, node_on, two_databases

CONVS = tuple(f"g{n}" for n in range(6))
USERS = tuple(f"u{n}" for n in range(8))
MOVES = 24
WRITES_EVERY_S = 0.2
"""Of each writer: what is written in one move is copied again in the next, so without a pause moves grow for ever."""
PAUSED_MS_MAX = 1_000


@pytest.fixture(scope="module")
def dsns(server: LocalPostgres) -> Iterator[dict[str, str]]:
    with LocalPostgres() as second, two_databases([server, second]) as dsns:
        yield dsns


@pytest.fixture
async def nodes(dsns: dict[str, str]) -> AsyncIterator[tuple[Node, Node]]:
    async with node_on(dsns) as first, node_on(dsns) as second:
        yield first, second


class Town:
    """Writers on two nodes, each of whom sends one after the other and repeats what is refused for now."""

    def __init__(self, nodes: tuple[Node, Node]) -> None:
        self.talks = [Talk(cast("Database", node.routed)) for node in nodes]
        self.talks[1].app = self.talks[0].app
        self.nodes = nodes
        self.running = True
        self.sent: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self.memberships = 0
        self.refused = 0
        self.read: dict[tuple[str, str], int] = {}

    async def settled(self, talk: Talk, append: Append) -> Appended:
        """The outcome of a send, repeated until it is settled, as a client does."""
        while True:
            (outcome,) = await talk.database.append([append])
            if isinstance(outcome, Appended):
                return outcome
            assert action_of(outcome.code) is Action.RETRY, outcome
            self.refused += 1
            await asyncio.sleep(0.05)

    async def write(self, talk: Talk, conv: str, user: str) -> None:
        """Messages, and now and then the same one twice."""
        own = self.sent.setdefault((conv, user), [])
        chance = random.Random(f"{conv} {user}")
        while self.running:
            text = f"{user} {len(own)}"
            send = talk.send(conv, user, text, device=user, client_id=text)
            outcome = await self.settled(talk, send)
            if chance.random() < 0.2:
                again = await self.settled(chance.choice(self.talks), send)
                assert (again.seq, again.duplicate) == (outcome.seq, True)
            own.append((text, outcome.seq))
            await self._move_cursor(talk, conv, user, outcome.seq)
            await asyncio.sleep(WRITES_EVERY_S)

    async def _move_cursor(self, talk: Talk, conv: str, user: str, seq: int) -> None:
        try:
            await talk.database.advance([CursorUpdate(talk.app, user, Cursor(conv, seq, seq))])
        except (StorageUnavailable, PartlyUnavailable):
            return
        self.read[conv, user] = seq

    async def come_and_go(self, talk: Talk, conv: str) -> None:
        """Somebody joins and leaves, again and again."""
        while self.running:
            for change in (talk.join(conv, "guest", role=Role.MEMBER), talk.leave(conv, "guest")):
                outcome = await self.settled(talk, change)
                self.memberships += not outcome.duplicate
                await asyncio.sleep(0.02)

    async def keep_roster(self, node: Node, name: str) -> None:
        """As a node does; a crash is begun again."""
        while self.running:
            try:
                await node.roster(name).run()
            except StorageUnavailable:
                await asyncio.sleep(0.05)


class Freeze:
    """Watches a move from inside: how long the shard had been frozen when it was given away."""

    def __init__(self) -> None:
        self._begun_at = self._given_at = 0.0

    @property
    def lasted_ms(self) -> float:
        return (self._given_at - self._begun_at) * 1000

    async def before(self, step: str) -> None:
        if step == "copy the rest":
            self._begun_at = CLOCK.monotonic()
        elif step == "give":
            self._given_at = CLOCK.monotonic()


async def test_nothing_is_lost_doubled_or_reordered_while_shards_move(nodes: tuple[Node, Node]) -> None:
    town = Town(nodes)
    first = town.talks[0]
    for conv in CONVS:
        await first.start(conv, *USERS)
    tasks = [
        asyncio.create_task(town.write(town.talks[at % 2], conv, USERS[at]))
        for conv in CONVS
        for at in range(3)
    ]
    tasks += [
        asyncio.create_task(town.come_and_go(town.talks[at % 2], conv)) for at, conv in enumerate(CONVS)
    ]
    rosters = [asyncio.create_task(town.keep_roster(node, name)) for node in nodes for name in (A, B)]
    chance = random.Random(1)
    mover_node = nodes[0]
    logs = [*CONVS, *map(account_id, (*USERS, "guest"))]
    paused: list[float] = []
    for _ in range(MOVES):
        shard = mover_node.shard(first.app, chance.choice(logs))
        freeze = Freeze()
        moved = await (await mover_node.mover(shard, before=freeze.before)).run()
        assert 0 < freeze.lasted_ms < moving.FREEZE_MS, "then the source takes writes again, whatever happens"
        paused.append(moved.paused_ms)
        await mover_node.databases.reload()
    town.running = False
    await asyncio.gather(*tasks)
    assert moving.FREEZE_MS + moving.LOCK_TIMEOUT_MS < PAUSED_MS_MAX, "each waits for its lock, and freezes"
    assert median(paused) < PAUSED_MS_MAX, "commits of single ones may have met a busy machine's disk"
    await _check_logs(town)
    await _check_cursors(town)
    await _check_roster(town, rosters)


async def _whole(talk: Talk, log: str) -> list[Entry]:
    entries: list[Entry] = []
    while page := (await talk.page(log, after=len(entries))).entries:
        entries += page
    return entries


async def _check_logs(town: Town) -> None:
    for conv in CONVS:
        entries = [await _whole(talk, conv) for talk in town.talks]
        assert entries[0] == entries[1], "both nodes see the same"
        assert [each.seq for each in entries[0]] == list(range(1, len(entries[0]) + 1))
        for user in USERS[:3]:
            own = [
                (msgspec.json.decode(each.body)["text"], each.seq)
                for each in entries[0]
                if each.kind == MESSAGE and each.sender == user
            ]
            assert own == town.sent[conv, user], "each sender's entries in their order, once"
            assert own


async def _check_cursors(town: Town) -> None:
    talk = town.talks[0]
    for (conv, user), seq in town.read.items():
        (cursor,) = await talk.database.cursors(talk.app, conv, [user])
        assert cursor.read >= seq, "what was answered is durable"


async def _check_roster(town: Town, rosters: list["asyncio.Task[None]"]) -> None:
    """Each membership has made one account entry, wherever the conversation and the account lay."""
    talk, node = town.talks[0], town.nodes[0]
    async with asyncio.timeout(30):
        while len(await _guest_entries(talk)) < town.memberships:
            await CLOCK.sleep(0.05)
    for task in rosters:
        task.cancel()
    await asyncio.gather(*rosters, return_exceptions=True)
    for name in (A, B):  # reading it all again makes nothing twice
        await _reread(node, name)
    entries = await _guest_entries(talk)
    assert len(entries) == town.memberships
    (inbox,) = await talk.database.inboxes(talk.app, ["guest"])
    assert inbox is not None
    assert sorted(inbox.left) == sorted(CONVS)


async def _guest_entries(talk: Talk) -> list[Entry]:
    entries = await _whole(talk, account_id("guest"))
    return [each for each in entries if each.kind in (ACCOUNT_JOINED, ACCOUNT_LEFT)]


async def _reread(node: Node, name: str) -> None:
    async def append(append: Append) -> Outcome:
        (outcome,) = await node.routed.append([append])
        assert isinstance(outcome, Refused) or outcome.duplicate
        return outcome

    position: FeedPosition = FEED_START
    while items := await node.engine(name).tail(position, 1000, ROSTER_KINDS):
        for item in items:
            for each in account_appends(item):
                if item.entry.conv in CONVS and each.conv == account_id("guest"):
                    await append(each)
        position = items[-1].position


async def test_what_was_left_behind_is_cleared_while_the_shard_is_written_elsewhere(
    nodes: tuple[Node, Node],
) -> None:
    node = nodes[0]
    talk = Talk(cast("Database", node.routed))
    await talk.start("g", "ann")
    await talk.say("g", "ann", *map(str, range(50)))
    shard = node.shard(talk.app, "g")
    source = node.engine(node.owner(shard))
    await node.move(shard)
    for reader in ("roster", "repair"):
        await source.store_position(reader, await source.end())
    while reader_behind := await moving.behind(source, shard):
        for each in reader_behind:
            await source.store_position(each, await source.end())
    writing = asyncio.create_task(talk.say("g", "ann", *map(str, range(50, 100))))
    await moving.clear(source, shard)
    await writing
    assert await talk.texts("g") == [str(n) for n in range(100)]
    await node.move(shard)
    assert await talk.texts("g") == [str(n) for n in range(100)]
