"""Whom applications have blocked: a note that was missed is made up for by reading the database again."""

from posthouse.gateway.blocklist import REFRESH_INTERVAL_S
from posthouse.kit.tasks import Tasks
from posthouse.messaging.notes import BlockNote, UnblockNote
from posthouse.protocol.codes import Code
from posthouse.storage.base import StorageUnavailable
from tests.gateway.fake_database import APP
from tests.gateway.hall import Hall, hall, settled


async def watching(it: Hall) -> Tasks:
    tasks = Tasks(it.clock)
    tasks.supervise("blocklist", it.gateway.refresh_blocked)
    await settled()
    return tasks


async def test_a_missed_block_ends_the_user_s_sessions_a_little_later() -> None:
    async with hall() as it:
        ann, ben = await it.enter("ann"), await it.enter("ben")
        tasks = await watching(it)
        it.database.blocked_users = ["ann"]
        await it.clock.advance(REFRESH_INTERVAL_S)
        assert (ann.ended, ben.ended) == (Code.BLOCKED, 0)
        await tasks.close()


async def test_a_missed_unblock_lets_the_user_in_a_little_later() -> None:
    async with hall() as it:
        it.tell(BlockNote(APP, "ann"))
        tasks = await watching(it)
        await it.clock.advance(REFRESH_INTERVAL_S)
        await it.enter("ann")
        await tasks.close()


async def test_what_is_told_while_the_list_is_read_counts_more_than_what_was_read() -> None:
    async with hall() as it:
        it.database.blocked_users = ["ann"]
        it.database.hold("blocked")
        tasks = await watching(it)
        await it.clock.advance(REFRESH_INTERVAL_S)
        it.tell(UnblockNote(APP, "ann"), BlockNote(APP, "ben"))
        it.database.release("blocked")
        await settled()
        assert not it.gateway.is_blocked(APP, "ann")
        assert it.gateway.is_blocked(APP, "ben")
        await tasks.close()


async def test_a_database_that_is_away_changes_nothing() -> None:
    async with hall() as it:
        it.tell(BlockNote(APP, "ann"))
        it.database.faults["blocked"] = [StorageUnavailable("away")]
        tasks = await watching(it)
        await it.clock.advance(REFRESH_INTERVAL_S)
        assert it.gateway.is_blocked(APP, "ann")
        assert tasks.crashes == 0
        await tasks.close()
