"""A node on two databases: one of them dies and comes back, shards move; nobody else notices, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Code
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.storage.engines.postgres.moving import ShardMove
from posthouse.testing.postgres import LocalPostgres, fresh_database
from tests.service.site import APP, Line, Site, serving

pytestmark = pytest.mark.timeout(120)  # two servers start, stop and start again


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[LocalPostgres, LocalPostgres]]:
    with (
        LocalPostgres(settings={"fsync": False}) as first,
        LocalPostgres(settings={"fsync": False}) as second,
    ):
        yield first, second


@dataclass
class Two:
    """A node on databases `a` and `b`; `b` can be killed."""

    site: Site
    b: LocalPostgres

    def named(self, log_of: Callable[[str], str], where: str) -> str:
        owner = self.site.node.parts.ports.owner
        return next(f"n{at}" for at in range(1000) if owner(APP, log_of(f"n{at}")) == where)

    def user(self, where: str) -> str:
        """A user whose account lies there."""
        return self.named(account_id, where)

    async def group(self, where: str, *members: str) -> str:
        """A conversation that lies there."""
        return await self.site.group(*members, conv=self.named(str, where))

    killed: bool = False

    async def kill(self) -> None:
        self.killed = True
        await asyncio.to_thread(self.b.stop)

    async def revive(self) -> None:
        if self.killed:
            self.killed = False
            await asyncio.to_thread(self.b.start)

    async def acked(self, line: Line, conv: str, client_id: str) -> int:
        """The seq of a send, repeated under the same name until it is acknowledged, as an SDK does."""
        made_at = line.welcome["at_ms"]
        while (answer := await line.send(conv, client_id, made_at=made_at))["t"] == "error":
            await SystemClock().sleep(answer["retry_after_ms"] / 1000)
        return int(answer["seq"])


@pytest.fixture
async def two(servers: tuple[LocalPostgres, LocalPostgres], tmp_path: Path) -> AsyncIterator[Two]:
    with fresh_database(servers[0]) as a, fresh_database(servers[1]) as b:
        async with serving(tmp_path, databases={"a": a, "b": b}) as site:
            two = Two(site, servers[1])
            try:
                yield two
            finally:
                await two.revive()


async def test_people_and_conversations_of_both_databases_meet(two: Two) -> None:
    ann, ben = two.user("a"), two.user("b")
    convs = [await two.group(name, ann, ben) for name in ("a", "b")]
    lines = [await two.site.enter(user) for user in (ann, ben)]
    for conv in convs:
        assert (await lines[0].send(conv))["seq"] == 2
        assert await lines[1].caught_up(conv, 2) == [2]
    for line in lines:
        listed = (await line.ask(t="list"))["items"]
        assert sorted(item["conv"] for item in listed) == sorted(convs)


async def test_a_dead_database_harms_only_its_own_conversations(two: Two) -> None:
    """Those of the other go on; a session may enter and resume; what it missed comes when the database is back."""
    ann, cat, ben = two.user("a"), "cat", two.user("b")
    cat = next(user for user in (f"m{n}" for n in range(1000))
               if two.site.node.parts.ports.owner(APP, account_id(user)) == "a")  # fmt: skip
    here, there = await two.group("a", ann, cat, ben), await two.group("b", ann, cat, ben)
    first, other = await two.site.enter(ann), await two.site.enter(cat)
    assert await other.caught_up(there, 2) if await two.acked(first, there, "before") == 2 else False
    await first.close()
    missed = await two.acked(other, there, "missed")
    await two.kill()
    assert (await other.send(here))["t"] == "ack"
    refusal = await other.send(there, "later", made_at=other.welcome["at_ms"])
    assert (refusal["t"], refusal["code"]) == ("error", Code.UNAVAILABLE)
    again = await two.site.back(first, ann, {here: 2, there: 2, account_id(ann): 2})
    await again.until(lambda: again.all("welcome"))
    assert again.welcome["resumed"]
    assert there not in again.welcome.get("changed", {}), "nobody can say"
    assert await two.acked(other, here, "alive") in await again.caught_up(here, 3)
    outside = await two.site.call()
    assert (await outside.hello(two.site.token(ben)))["code"] == Code.OVERLOADED, (
        "nobody knows what ben follows"
    )
    await two.revive()
    await again.until(lambda: any(frame["heads"].get(there) == missed for frame in again.all("heads")))
    later = await two.acked(other, there, "later")
    assert await again.caught_up(there, later) == [later]


async def test_a_node_that_starts_while_one_database_is_away_resumes_clients(
    servers: tuple[LocalPostgres, LocalPostgres], tmp_path: Path
) -> None:
    """Its epoch is unknown, which is not changed; and nobody who is blocked slips in when it comes back."""
    with fresh_database(servers[0]) as a, fresh_database(servers[1]) as b:
        dsns = {"a": a, "b": b}
        async with serving(tmp_path, databases=dsns) as site:
            two = Two(site, servers[1])
            ann, eve = two.user("a"), two.user("b")
            await two.group("a", ann)
            line = await site.enter(ann)
            reply = await site.rest("PUT", f"/v1/users/{eve}", {"blocked": True})
            assert reply.status == 200, reply
        await two.kill()
        try:
            async with serving(tmp_path, databases=dsns) as site:
                again = await site.back(line, ann, {account_id(ann): 1})
                await again.until(lambda: again.all("welcome"))
                assert (again.welcome["resumed"], again.welcome.get("reset", 0)) == (True, 0)
                assert again.welcome["epoch"] == line.welcome["epoch"]
                await two.revive()
                assert await _refused(site, eve) == Code.BLOCKED
        finally:
            await two.revive()


async def _refused(site: Site, user: str) -> int:
    """What a user is told who may not come in, once their database can be asked."""
    while True:
        line = await site.call()
        answer = await line.hello(site.token(user))
        if answer["t"] == "welcome" or answer["code"] != Code.OVERLOADED:
            return int(answer.get("code", 0))
        await asyncio.sleep(0.1)


async def test_a_conversation_moves_while_people_write(two: Two) -> None:
    """Sends that meet the move are repeated; each comes once, in order, to everybody."""
    ann, ben = two.user("a"), two.user("b")
    conv = await two.group("a", ann, ben)
    lines = [await two.site.enter(user) for user in (ann, ben)]
    done = False
    sent: list[list[int]] = [[], []]

    async def write(at: int) -> None:
        while not done:
            sent[at].append(await two.acked(lines[at], conv, f"{at}-{len(sent[at])}"))

    writing = [asyncio.create_task(write(at)) for at in range(2)]
    for _ in range(4):
        await _move(two, conv)
        await asyncio.sleep(0.05)
    done = True
    await asyncio.gather(*writing)
    last = max(sent[0] + sent[1])
    for at in range(2):
        assert sent[at] == sorted(sent[at])
        await lines[at].until(lambda: last in lines[at].seqs(conv) + sent[at])  # noqa: B023
        seen = sorted(lines[at].seqs(conv) + sent[at])
        assert seen == list(range(2, last + 1)), "each entry once: pushed, or acknowledged"
        assert lines[at].seqs(conv) == sorted(lines[at].seqs(conv))


async def _move(two: Two, conv: str) -> None:
    ports = two.site.node.parts.ports
    assert ports.shards is not None
    await ports.shards.reload()
    shard = ports.shards.map.shard(APP, conv)
    owner = ports.shards.map.owners[shard]
    source = ports.databases[owner.database]
    target = ports.databases["a" if owner.database == "b" else "b"]
    assert isinstance(source, PostgresDatabase)
    assert isinstance(target, PostgresDatabase)
    await ShardMove(shard, source, target, owner.epoch, f"mover {owner.epoch}", SystemClock()).run()
