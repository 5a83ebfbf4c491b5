"""What the feed and the directory promise, and what a database says of itself."""

import asyncio

import msgspec

from posthouse.model.entry import CREATED, MEMBER_JOINED, MEMBER_LEFT
from posthouse.storage.base import (
    FEED_START,
    Charter,
    Condition,
    Database,
    FeedEntry,
    FeedPosition,
    Owner,
    User,
)
from posthouse.testing.contracts.storage.opened import OpenDatabase, Opened
from posthouse.testing.contracts.storage.talk import Talk


async def _mine(
    talk: Talk, after: FeedPosition, limit: int = 1_000, kinds: tuple[str, ...] = ()
) -> list[FeedEntry]:
    """The entries of the talk's app beyond a position, read to the end in pages of `limit`."""
    found: list[FeedEntry] = []
    while page := await talk.database.tail(after, limit, kinds):
        assert len(page) <= limit
        assert page[0].position > after
        after = page[-1].position
        found += [each for each in page if each.app == talk.app]
    return found


class Feeding(Opened):
    async def test_the_feed_has_every_entry_once_in_the_order_of_its_log(self, talk: Talk) -> None:
        """In pages of any size; an entry in the feed is the entry in the log."""
        start = await talk.database.end()
        await talk.start("g", "ann", "ben")
        await talk.say("g", "ann", *map(str, range(20)))
        await talk.start("h", "ann")
        for limit in (1, 4, 1_000):
            found = await _mine(talk, start, limit)
            assert len({each.position for each in found}) == len(found)
            assert [each.position for each in found] == sorted(each.position for each in found)
            for log in ("g", "h", "~ann", "~ben"):
                in_feed = tuple(each.entry for each in found if each.entry.conv == log)
                assert in_feed == await talk.entries(log)

    async def test_the_feed_begins_at_its_start(self, talk: Talk) -> None:
        await talk.start("g", "ann")
        found = await _mine(talk, FEED_START)
        assert [each.entry.conv for each in found] == ["g", "~ann"]

    async def test_one_who_reads_while_others_write_misses_nothing(self, talk: Talk) -> None:
        """The hazard of a feed in order of number instead of commit: a reader hurries along while batches commit."""
        start = await talk.database.end()
        users = [f"u{n}" for n in range(4)]
        await talk.done(*(talk.group(user, user) for user in users))
        total = 4 * (1 + 25)
        seen: list[tuple[str, int]] = []

        async def write(user: str) -> None:
            for n in range(25):
                await talk.done(talk.send(user, user, str(n)))

        async def follow() -> None:
            position = start
            while len(seen) < total:
                page = await talk.database.tail(position, 7)
                seen.extend((each.entry.conv, each.entry.seq) for each in page if each.app == talk.app)
                position = page[-1].position if page else position
                await asyncio.sleep(0)

        async with asyncio.timeout(30):
            await asyncio.gather(follow(), *(write(user) for user in users))
        assert len(set(seen)) == total
        for user in users:
            assert [seq for conv, seq in seen if conv == user] == list(range(1, 27))

    async def test_the_feed_is_filtered_by_kind(self, talk: Talk) -> None:
        start = await talk.database.end()
        await talk.done(
            talk.group("g", "ann"), talk.send("g", "ann"), talk.join("g", "ben"), talk.send("g", "ben")
        )
        await talk.done(talk.send("g", "ben", kind="x.poll"), talk.leave("g", "ben"), talk.send("g", "ann"))

        async def kinds_of(*kinds: str, limit: int = 100) -> list[int]:
            return [each.entry.seq for each in await _mine(talk, start, limit, kinds)]

        membership = (CREATED, MEMBER_JOINED, MEMBER_LEFT)
        assert await kinds_of(*membership) == [1, 3, 6]
        assert await kinds_of(*membership, limit=1) == [1, 3, 6]
        assert await kinds_of("message", MEMBER_LEFT) == [2, 4, 6, 7]
        assert await kinds_of("x.poll", "x.poll") == [5]
        assert await kinds_of("no such kind") == []

    async def test_the_feed_names_the_logs_that_changed(self, talk: Talk) -> None:
        start = await talk.database.end()
        await talk.done(
            talk.group("g", "ann"), talk.group("h", "ann"), *(talk.send("g", "ann") for _ in range(5))
        )
        middle = await talk.database.end()
        await talk.done(talk.send("h", "ann"))
        end = await talk.database.end()

        async def changed(after: FeedPosition, until: FeedPosition) -> dict[str, int]:
            found = await talk.database.changed(after, until)
            return {conv: seq for (app, conv), seq in found.items() if app == talk.app}

        assert await changed(start, middle) == {"g": 6, "h": 1}
        assert await changed(middle, end) == {"h": 2}
        assert await changed(start, end) == {"g": 6, "h": 2}
        assert await changed(end, end) == {}

    async def test_the_end_covers_what_was_committed_before(self, talk: Talk) -> None:
        before = await talk.database.end()
        await talk.start("g", "ann")
        end = await talk.database.end()
        assert end > before
        assert all(each.position <= end for each in await _mine(talk, before))
        await talk.say("g", "ann", "later")
        assert [each.entry.seq for each in await _mine(talk, end)] == [2]

    async def test_a_readers_position_never_moves_back(self, talk: Talk) -> None:
        """Two nodes may both believe to be the reader: the slower one does not undo the faster one's progress."""
        reader = f"reader of {talk.app}"
        assert await talk.database.position(reader) == FEED_START
        reached = []
        for conv in ("g", "h", "i"):
            await talk.done(talk.group(conv, "ann"))
            reached.append(await talk.database.end())
        await talk.database.store_position(reader, reached[1])
        for lower in (reached[0], FEED_START, reached[1]):
            await talk.database.store_position(reader, lower)
            assert await talk.database.position(reader) == reached[1]
        await talk.database.store_position(reader, reached[2])
        assert await talk.database.position(reader) == reached[2]
        assert await talk.database.position(f"another of {talk.app}") == FEED_START

    async def test_a_readers_position_is_durable(self, open_database: OpenDatabase) -> None:
        talk = Talk(await open_database())
        reader = f"reader of {talk.app}"
        await talk.start("g", "ann")
        reached = await talk.database.end()
        await talk.database.store_position(reader, reached)
        await talk.database.close()
        talk.database = await open_database()
        try:
            assert await talk.database.position(reader) == reached
        finally:
            await talk.database.close()


class Directories(Opened):
    async def test_users_are_stored_and_replaced(self, talk: Talk) -> None:
        user = User(user="ann", name="Ann", avatar="ann.png", properties=msgspec.Raw(b'{"a":1}'))
        stored = await talk.database.put_user(talk.app, user)
        assert stored.updated_ms > 0
        assert stored == msgspec.structs.replace(user, updated_ms=stored.updated_ms)
        assert await talk.database.users(talk.app, ["ann", "ben"]) == [stored]
        again = await talk.database.put_user(talk.app, User(user="ann", name="Anna"))
        assert await talk.database.users(talk.app, ["ann"]) == [again]
        assert (again.name, again.avatar, bytes(again.properties)) == ("Anna", "", b"{}")

    async def test_apps_have_their_own_users(self, talk: Talk) -> None:
        await talk.database.put_user(talk.app, User(user="ann"))
        assert await talk.database.users(f"other than {talk.app}", ["ann"]) == []
        assert await talk.database.users(talk.app, []) == []

    async def test_blocked_users_are_listed(self, talk: Talk) -> None:
        for name, blocked in (("ann", True), ("ben", False), ("cat", True), ("cat", False), ("dan", True)):
            await talk.database.put_user(talk.app, User(user=name, blocked=blocked))
        assert sorted(await talk.database.blocked(talk.app)) == ["ann", "dan"]
        (ann,) = await talk.database.users(talk.app, ["ann"])
        assert ann.blocked


class Lasting(Opened):
    async def test_the_epoch_stays_over_a_restart(self, open_database: OpenDatabase) -> None:
        database = await open_database()
        epoch = database.epoch
        await database.close()
        database = await open_database()
        try:
            assert epoch
            assert database.epoch == epoch
        finally:
            await database.close()

    async def test_a_cancelled_caller_leaves_no_half_done_append(self, talk: Talk) -> None:
        """Whoever stops waiting, the append is done or not done; a repetition finds out which."""
        await talk.done(talk.group("g", "ann"))
        for turn in range(10):
            send = talk.send("g", "ann", str(turn))
            async with asyncio.TaskGroup() as callers:
                caller = callers.create_task(talk.append(send))
                for _ in range(turn):
                    await asyncio.sleep(0)
                caller.cancel()
            await talk.done(send)
        assert await talk.texts("g") == [str(turn) for turn in range(10)]


class Conditions(Opened):
    async def test_a_sound_database_says_so(self, database: Database) -> None:
        assert await database.probe() == Condition(True, True)


class Charters(Opened):
    async def test_what_a_database_learned_of_the_others_it_still_knows_after_a_restart(
        self, open_database: OpenDatabase
    ) -> None:
        """Newer is kept: who is asked while the others are away says what was last heard of them."""
        database = await open_database()
        before = await database.charter()
        owners = before.owners or [Owner(0, "main", 1)]
        await database.learn(Charter(owners, {"other": "e1"}))
        await database.learn(Charter(owners, {"other": "e2"}))
        await database.close()
        database = await open_database()
        try:
            charter = await database.charter()
            assert list(charter.owners) == list(owners)
            assert charter.epochs["other"] == "e2"
        finally:
            await database.close()

    async def test_a_database_with_a_conversation_is_not_empty(self, talk: Talk, database: Database) -> None:
        await talk.start("g", "ann")
        assert not (await database.charter()).empty
