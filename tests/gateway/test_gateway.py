"""The gateway: who is connected, and whom it sends away."""

import itertools

import pytest

from posthouse.gateway.gateway import RETURN_WITHIN_MS
from posthouse.messaging.notes import BlockNote, UnblockNote
from posthouse.protocol.codes import Action, Code, action_of
from tests.gateway.fake_database import APP
from tests.gateway.hall import Hall, hall, settled, token, until


def sweeping(it: Hall) -> None:
    it.tasks.supervise("sweep", it.gateway.sweep)


async def test_a_connection_without_hello_is_ended_in_time() -> None:
    """P-5.2."""
    async with hall() as it:
        sweeping(it)
        silent, in_time = it.accept(), it.accept()
        await it.clock.advance(8)
        in_time.hello("ann")
        await it.clock.advance(3)
        assert (silent.ended, in_time.ended) == (Code.HELLO_TIMEOUT, 0)


@pytest.mark.parametrize("phase", ["live", "entering"])
async def test_a_session_from_which_nothing_comes_is_ended(phase: str) -> None:
    """P-6.2; while it is being let in it waits for the server, not the server for it."""
    async with hall() as it:
        sweeping(it)
        if phase == "entering":
            it.database.hold("inboxes")
        silent, alive = it.accept(), it.accept()
        silent.hello("ann", heartbeat_s=5)
        alive.hello("ben", heartbeat_s=5)
        await settled()
        for _ in range(5):
            await it.clock.advance(3)
            alive.say(t="ping")
        assert alive.ended == 0
        assert silent.ended == (Code.HEARTBEAT_MISSED if phase == "live" else 0)


async def test_a_session_does_not_outlive_its_token() -> None:
    """P-4.4."""
    async with hall() as it:
        sweeping(it)
        ann = it.accept()
        ann.say(t="hello", token=token("ann", ttl_s=10), device="phone", heartbeat_s=300)
        await it.clock.advance(9)
        assert ann.ended == 0
        await it.clock.advance(2)
        assert ann.ended == Code.TOKEN_EXPIRED
        assert it.gateway.codes[Code.TOKEN_EXPIRED] == 1


async def test_a_renewed_session_lives_on() -> None:
    async with hall() as it:
        sweeping(it)
        ann = it.accept()
        ann.say(t="hello", token=token("ann", ttl_s=10), device="phone", heartbeat_s=300)
        await it.clock.advance(5)
        ann.say(t="renew", ref=1, token=token("ann", ttl_s=1_000))
        await it.clock.advance(60)
        assert ann.ended == 0


async def test_a_blocked_user_s_sessions_end_and_no_new_one_begins_until_the_block_is_lifted() -> None:
    """P-4.6."""
    async with hall() as it:
        phone, tablet, ben = await it.enter("ann"), await it.enter("ann", "tablet"), await it.enter("ben")
        it.tell(BlockNote(APP, "ann"))
        assert (phone.ended, tablet.ended, ben.ended) == (Code.BLOCKED, Code.BLOCKED, 0)
        again = it.accept()
        again.hello("ann")
        assert again.ended == Code.BLOCKED
        assert not it.gateway.is_blocked("other", "ann")
        it.tell(UnblockNote(APP, "ann"))
        await it.enter("ann")


async def test_who_was_blocked_before_the_node_started_is_not_let_in() -> None:
    async with hall() as it:
        it.database.blocked_users = ["ann"]
        await it.gateway.load_blocked([APP])
        ann = it.accept()
        ann.hello("ann")
        assert ann.ended == Code.BLOCKED


async def test_a_log_that_moved_back_while_the_node_runs_makes_everybody_start_afresh() -> None:
    """A room that has delivered up to 9 would take entry 5 of the restored log for an old one, and drop it."""
    async with hall() as it:
        sweeping(it)
        it.database.found("c", "ann", "ben")
        ann, ben = await it.enter("ann"), await it.enter("ben")
        it.tell(it.database.message("c"), it.database.message("c"))
        await it.clock.advance(1)
        del it.database.logs["c"][1:]
        it.database.epoch = "e2"
        await it.clock.advance(1)
        assert (ann.ended, ben.ended) == (Code.EPOCH_CHANGED, Code.EPOCH_CHANGED)
        assert action_of(ann.ended) is Action.RESET
        waits = [guest.frames[-1].get("reconnect_in_ms", 0) for guest in (ann, ben)]
        assert len(set(waits)) == 2
        assert max(waits) < RETURN_WITHIN_MS
        back = await it.enter("ann")
        it.tell(it.database.message("c"))
        assert back.entries() == [("c", 2)]
        await it.clock.advance(1)
        assert back.ended == 0


async def test_all_are_sent_away_spread_over_a_while_and_nothing_is_left() -> None:
    async with hall() as it:
        it.database.found("c", "u0", "u1", "u2", "u3")
        guests = [await it.enter(f"u{number}") for number in range(4)]
        guests.append(it.accept())
        it.gateway.send_away(Code.NODE_STOPPING, "the node stops", 1_000)
        assert [guest.ended for guest in guests] == [Code.NODE_STOPPING] * 5
        waits = sorted(guest.frames[-1].get("reconnect_in_ms", 0) for guest in guests)
        assert waits == [0, 200, 400, 600, 800]
        for guest in guests:
            guest.vanish()
        assert (it.gateway.connections, it.gateway.sessions, it.gateway.devices._held) == ({}, {}, {})
        assert len(it.gateway.audience.rooms) == 0


async def test_sessions_never_share_a_name_also_after_a_restart() -> None:
    async with hall() as it:
        names = [it.gateway.new_session_id() for _ in range(100)]
        it.gateway._started_ms += 1
        it.gateway._numbers = itertools.count(1)
        names += [it.gateway.new_session_id() for _ in range(100)]
        assert len(set(names)) == 200


async def test_a_sweep_that_fails_is_started_again() -> None:
    async with hall() as it:
        sweeping(it)
        ann = it.accept()
        flush = it.gateway.audience.flush

        async def fail() -> None:
            it.gateway.audience.flush = flush  # type: ignore[method-assign]
            raise RuntimeError("a fault of ours")

        it.gateway.audience.flush = fail  # type: ignore[method-assign]
        await it.clock.advance(1)
        await it.clock.advance(30)
        await until(lambda: ann.ended)
        assert it.tasks.crashes == 1


async def test_what_comes_after_more_silence_than_may_be_is_not_taken() -> None:
    """Also when nobody has looked meanwhile, as in a node that was frozen: its client has left (P-6.2)."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann", heartbeat_s=5)
        await it.clock.advance(11.5)
        ann.send("c", "late")
        await settled()
        assert ann.ended == Code.HEARTBEAT_MISSED
        assert it.database.asked["append"] == 0


async def test_who_was_let_in_late_may_be_silent_for_as_long_as_anybody_else() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.hold("inboxes")
        ann = it.accept()
        ann.hello("ann", heartbeat_s=5)
        await it.clock.advance(11.5)
        it.database.release("inboxes")
        await settled()
        ann.send("c", "first")
        await settled()
        assert ann.heard("ack")
