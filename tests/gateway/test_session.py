"""What a session does with frames: each is answered once with its code, in order, within its limits."""

import pytest

from posthouse.gateway.admission import Rates
from posthouse.gateway.gateway import DEPARTING_S_MAX
from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.session import FLOOD_HELD_CONVERSATIONS_MAX
from posthouse.messaging.commit import CommitLimits
from posthouse.protocol.codes import Code
from posthouse.storage.base import StorageUnavailable
from tests.gateway.hall import Guest, Hall, hall, settled


async def acked(guest: Guest) -> list[str]:
    await settled()
    return [frame["client_id"] for frame in guest.heard("ack")]


def refused(guest: Guest) -> list[tuple[str, int]]:
    return [(frame["client_id"], frame["code"]) for frame in guest.heard("error")]


async def settle_all(it: Hall, guest: Guest, *client_ids: str) -> None:
    """Repeat sends in order, each once the one before it is settled, as P-8.10 advises."""
    for client_id in client_ids:
        guest.send("c", client_id)
        await it.commit.drained()


# Answers ----------------------------------------------------------------------------------------------------------


async def test_each_send_is_answered_once_in_order() -> None:
    """P-8.1."""
    async with hall() as it:
        ann = await it.enter("ann")
        for number in range(20):
            ann.send("c", f"k{number}")
        assert await acked(ann) == [f"k{number}" for number in range(20)]
        assert ann.session.in_flight == 0


async def test_no_ack_comes_before_the_database_has_answered() -> None:
    """G1, P-8.6."""
    async with hall() as it:
        ann = await it.enter("ann")
        it.database.hold("append")
        ann.send("c", "k")
        assert await acked(ann) == []
        it.database.release("append")
        assert await acked(ann) == ["k"]


@pytest.mark.parametrize("how", ["ended", "vanished"])
async def test_nothing_is_said_to_a_session_that_has_ended(how: str) -> None:
    """What is committed meanwhile has no ack; the client repeats it and gets its seq then."""
    async with hall() as it:
        ann = await it.enter("ann")
        it.database.hold("append")
        ann.send("c", "k")
        await settled()
        if how == "ended":
            ann.session.end(Code.NODE_STOPPING, "the node stops")
        else:
            ann.vanish()
        said = len(ann.frames)
        it.database.release("append")
        await settled()
        assert len(ann.frames) == said
        assert len(it.database.logs["c"]) == 1
        assert it.gateway.tasks.crashes == it.tasks.crashes == 0


async def test_an_ended_session_ignores_what_still_comes() -> None:
    """P-5.1."""
    async with hall() as it:
        ann = await it.enter("ann")
        ann.session.end(Code.NODE_STOPPING, "the node stops")
        for frame in (b'{"t":"ping"}', b'{"t":"hello","token":"x","device":"y"}', b'{"t":"list","ref":1}'):
            ann.session.received(frame)
        assert [frame["t"] for frame in ann.frames] == ["welcome", "goaway"]


async def test_a_session_ends_once() -> None:
    async with hall() as it:
        ann = await it.enter("ann")
        ann.session.end(Code.BLOCKED, "first")
        ann.session.end(Code.NODE_STOPPING, "second")
        assert ann.ended == Code.BLOCKED
        assert len(ann.heard("goaway")) == 1
        assert it.gateway.codes == {Code.BLOCKED: 1}


# Order across refusals --------------------------------------------------------------------------------------------


async def test_a_send_beyond_the_rate_holds_back_those_behind_it() -> None:
    """G3, P-8.10: a pipeline that meets a rate limit keeps its order."""
    async with hall(Rates(sends_per_user_per_s=10.0, sends_per_user_burst=2.0)) as it:
        ann = await it.enter("ann")
        for number in range(5):
            ann.send("c", f"k{number}")
        await settled()
        assert await acked(ann) == ["k0", "k1"]
        held = [("k2", Code.RATE_LIMITED), ("k3", Code.HELD_BACK), ("k4", Code.HELD_BACK)]
        assert refused(ann) == held
        assert all(frame["retry_after_ms"] > 0 for frame in ann.heard("error"))
        await it.clock.advance(1)
        ann.send("c", "k3")
        assert refused(ann)[3:] == [("k3", Code.HELD_BACK)], "the refused one comes first"
        await settle_all(it, ann, "k2", "k3")
        assert [bytes(entry.body) for entry in it.database.logs["c"]] == [
            f'{{"text": "k{number}"}}'.encode() for number in range(4)
        ]


async def test_a_database_that_is_away_changes_no_order() -> None:
    async with hall(commit_limits=CommitLimits(batch_sends_max=1)) as it:
        ann = await it.enter("ann")
        it.database.faults["append"].append(StorageUnavailable("away"))
        for number in range(3):
            ann.send("c", f"k{number}")
        ann.send("d", "other")
        await it.commit.drained()
        assert refused(ann) == [("k0", Code.UNAVAILABLE), ("k1", Code.HELD_BACK), ("k2", Code.HELD_BACK)]
        assert await acked(ann) == ["other"], "other conversations go on"
        await settle_all(it, ann, "k0", "k1", "k2")
        assert await acked(ann) == ["other", "k0", "k1", "k2"]


async def test_a_send_refused_for_good_holds_back_nobody() -> None:
    async with hall() as it:
        ann = await it.enter("ann")
        ann.say(t="send", conv="c", client_id="bad", made_at=1, body=[])
        ann.send("c", "good")
        assert await acked(ann) == ["good"]
        assert refused(ann) == [("bad", Code.INVALID_CONTENT)]


async def test_one_session_s_hold_is_not_another_s() -> None:
    async with hall(Rates(sends_per_user_per_s=1.0, sends_per_user_burst=1.0)) as it:
        phone, ben = await it.enter("ann"), await it.enter("ben")
        phone.send("c", "k0")
        phone.send("c", "k1")
        ben.send("c", "b0")
        assert await acked(ben) == ["b0"]
        assert refused(phone) == [("k1", Code.RATE_LIMITED)]


# Limits -----------------------------------------------------------------------------------------------------------


async def test_more_unanswered_sends_than_allowed_are_refused_for_now() -> None:
    """P-8.12."""
    async with hall(limits=GatewayLimits(in_flight_max=2)) as it:
        ann = await it.enter("ann")
        it.database.hold("append")
        for number in range(3):
            ann.send("c", f"k{number}")
        ann.say(t="fetch", ref=1, conv="c")
        ann.say(t="cursor", ref=2, cursors=[])
        assert ann.codes() == [Code.IN_FLIGHT_LIMIT] * 3
        it.database.release("append")
        assert await acked(ann) == ["k0", "k1"]
        await settle_all(it, ann, "k2")
        assert await acked(ann) == ["k0", "k1", "k2"]


async def test_a_user_s_rate_is_shared_by_their_devices_and_by_nobody_else() -> None:
    async with hall(Rates(sends_per_user_per_s=1.0, sends_per_user_burst=2.0)) as it:
        phone, tablet, ben = await it.enter("ann"), await it.enter("ann", "tablet"), await it.enter("ben")
        phone.send("c", "1")
        tablet.send("c", "2")
        tablet.send("d", "3")
        ben.send("c", "4")
        await settled()
        assert (phone.codes(), tablet.codes(), ben.codes()) == ([], [Code.RATE_LIMITED], [])


async def test_an_app_s_rate_is_its_own() -> None:
    async with hall(Rates(sends_per_app_per_s=1.0, sends_per_app_burst=1.0)) as it:
        ann, ben = await it.enter("ann"), await it.enter("ben")
        ann.send("c", "1")
        ben.send("c", "2")
        await settled()
        assert (ann.codes(), ben.codes()) == ([], [Code.RATE_LIMITED])
        assert it.gateway.admission.sends_refused == 1


async def test_a_connection_that_sends_too_many_frames_is_disconnected_and_told_when_to_come_back() -> None:
    async with hall(Rates(frames_per_connection_per_s=1.0, frames_per_connection_burst=10.0)) as it:
        ann, ben = await it.enter("ann"), await it.enter("ben")
        for _ in range(20):
            ann.say(t="ping")
        ben.say(t="ping")
        assert (ann.ended, len(ann.heard("pong"))) == (Code.CONNECTION_RATE, 9)
        assert ann.frames[-1]["reconnect_in_ms"] > 0
        assert (ben.ended, len(ben.heard("pong"))) == (0, 1)
        assert it.gateway.codes[Code.CONNECTION_RATE] == 1


def flooding(limits: bool) -> Rates:
    """Rates at which everything but the first send is refused, or nothing is."""
    burst = 1.0 if limits else 1e9
    return Rates(
        sends_per_user_per_s=1e-6 if limits else 1e9, sends_per_user_burst=burst,
        frames_per_connection_per_s=1e9, frames_per_connection_burst=1e9,
    )  # fmt: skip


async def test_who_never_settles_refused_sends_is_disconnected() -> None:
    """P-8.12: each keeps a place in the session's lane, and those are bounded (G7)."""
    async with hall(flooding(limits=True)) as it:
        ann = await it.enter("ann")
        for number in range(FLOOD_HELD_CONVERSATIONS_MAX + 3):
            ann.send(f"c{number}", "k")
            await settled() if number < 2 else None
        assert ann.ended == Code.FLOOD
        assert ann.codes().count(Code.RATE_LIMITED) == FLOOD_HELD_CONVERSATIONS_MAX + 1


async def test_that_holds_as_well_when_the_database_refuses() -> None:
    limits = GatewayLimits(in_flight_max=FLOOD_HELD_CONVERSATIONS_MAX + 10)
    async with hall(flooding(limits=False), limits) as it:
        it.database.faults["append"] = [StorageUnavailable("away")] * 100
        ann = await it.enter("ann")
        for number in range(FLOOD_HELD_CONVERSATIONS_MAX + 3):
            ann.send(f"c{number}", "k")
        await it.commit.drained()
        assert ann.ended == Code.FLOOD


async def test_who_repeats_refused_sends_only_to_have_them_refused_for_good_is_disconnected() -> None:
    """What was held back behind the first try stays barred, and that keeps a place as well (G7)."""
    async with hall(flooding(limits=True)) as it:
        ann = await it.enter("ann")
        ann.send("c", "k")
        await settled()
        for number in range(FLOOD_HELD_CONVERSATIONS_MAX + 3):
            ann.send(f"c{number}", "k")
            ann.send(f"c{number}", "k", reply_to=-1)
        assert ann.ended == Code.FLOOD


async def test_a_lane_keeps_no_long_strings() -> None:
    """A refusal for now is remembered by its ids, so those are checked before anything that passes by itself."""
    async with hall(limits=GatewayLimits(in_flight_max=1)) as it:
        ann = await it.enter("ann")
        it.database.hold("append")
        ann.send("c", "k")
        ann.send("c" * 60_000, "k")
        ann.send("d", "k" * 60_000)
        ann.send("e", "k")
        assert ann.codes() == [Code.INVALID_CONTENT, Code.INVALID_CONTENT, Code.IN_FLIGHT_LIMIT]
        assert ann.session._lane is not None
        assert len(ann.session._lane) == 1
        it.database.release("append")


# Departing --------------------------------------------------------------------------------------------------------


async def test_who_departs_is_told_where_to_go_and_gets_its_acks_first() -> None:
    """A drain fails no send: what the server has taken is answered, what comes after is the next session's."""
    async with hall() as it:
        ann = await it.enter("ann")
        it.database.hold("append")
        ann.send("c", "taken")
        await settled()
        ann.session.depart(Code.DRAINING, "the node is draining", "ws://n2/v1/ws")
        ann.session.received(b'{"t":"send","conv":"c","client_id":"late","made_at":1,"body":{}}')
        assert ann.ended == 0
        it.database.release("append")
        assert await acked(ann) == ["taken"]
        assert ann.ended == Code.DRAINING
        (goaway,) = ann.heard("goaway")
        assert (goaway["code"], goaway["endpoint"]) == (Code.DRAINING, "ws://n2/v1/ws")
        assert "reconnect_in_ms" not in goaway, "it waited for its turn already"
        assert len(it.database.logs["c"]) == 1


async def test_who_departs_with_nothing_in_flight_goes_at_once() -> None:
    async with hall() as it:
        ann = await it.enter("ann")
        ann.session.depart(Code.DRAINING, "the node is draining", "")
        assert ann.ended == Code.DRAINING
        assert it.gateway.codes == {Code.DRAINING: 1}


async def test_who_departs_and_is_ended_goes_without_waiting() -> None:
    """Such as one that reads too slowly meanwhile: it has been told already."""
    async with hall() as it:
        ann = await it.enter("ann")
        it.database.hold("append")
        ann.send("c", "k")
        await settled()
        ann.session.depart(Code.DRAINING, "the node is draining", "")
        ann.session.overflowed()
        assert (ann.ended, len(ann.heard("goaway"))) == (Code.DRAINING, 1)
        it.database.release("append")
        await settled()
        assert it.gateway.tasks.crashes == it.tasks.crashes == 0


async def test_who_leaves_while_departing_is_forgotten() -> None:
    async with hall() as it:
        ann = await it.enter("ann")
        it.database.hold("append")
        ann.send("c", "k")
        await settled()
        ann.session.depart(Code.DRAINING, "the node is draining", "")
        ann.vanish()
        it.database.release("append")
        await settled()
        assert (ann.ended, len(it.gateway.sessions)) == (1006, 0)


async def test_who_departs_does_not_wait_for_what_is_not_a_send() -> None:
    """Fetches and cursors are asked again in the next session; cursors alone take a second to be written."""
    async with hall() as it:
        ann = await it.enter("ann")
        it.database.hold("read")
        ann.say(t="fetch", ref=1, conv="c", after=0)
        await settled()
        ann.session.depart(Code.REBALANCED, "sessions are being evened out", "ws://n2/v1/ws")
        assert ann.ended == Code.REBALANCED
        it.database.release("read")
        await settled()
        assert it.gateway.tasks.crashes == it.tasks.crashes == 0


async def test_who_departs_waits_for_its_acks_only_so_long() -> None:
    """A database that does not answer must not keep anybody hanging between two nodes."""
    async with hall() as it:
        ann = await it.enter("ann")
        it.tasks.supervise("sweep", it.gateway.sweep)
        it.database.hold("append")
        ann.send("c", "k")
        await settled()
        ann.session.depart(Code.REBALANCED, "sessions are being evened out", "ws://n2/v1/ws")
        await it.clock.advance(DEPARTING_S_MAX - 1)
        assert ann.ended == 0
        await it.clock.advance(2)
        assert (ann.ended, len(ann.heard("goaway"))) == (Code.REBALANCED, 1)
        it.database.release("append")
        await settled()
