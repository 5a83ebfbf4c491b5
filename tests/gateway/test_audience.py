"""Deliveries of one gateway: each log in order and once, nothing to whom it is not for, nothing forgotten."""

import pytest

from posthouse.cache.base import LogKey
from posthouse.messaging.notes import CursorsNote, EntryNote, HeadsNote
from posthouse.protocol.codec import encode
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import CursorsPush, MemberCursor
from posthouse.storage.base import FeedEntry, FeedPosition, StorageCorrupt, StorageUnavailable
from tests.gateway.fake_database import APP
from tests.gateway.hall import Guest, Hall, hall, settled, until


def key(conv: str) -> LogKey:
    return (APP, conv)


async def follows(hall: Hall, guest: Guest) -> list[str]:
    await settled()
    return sorted(room.key[1] for room in guest.session.rooms if not room.key[1].startswith("~"))


# Order and gaps ---------------------------------------------------------------------------------------------------


async def test_entries_are_delivered_in_order_and_once() -> None:
    """P-9.1."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        notes = [it.database.message("c") for _ in range(3)]
        it.tell(notes[0], notes[1])
        it.tell(notes[1], notes[0], notes[2], notes[2])
        assert ann.entries() == [("c", 2), ("c", 3), ("c", 4)]


async def test_a_lost_hint_is_made_up_for_by_the_next_entry() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.tell(it.database.message("c"))
        await settled()
        assert ann.entries() == [("c", 2), ("c", 3)]
        assert it.gateway.audience.gaps == 1


async def test_a_lost_hint_is_made_up_for_by_the_repair_reader() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.tell(HeadsNote(APP, {"c": 2, "unknown": 9}))
        await settled()
        assert ann.entries() == [("c", 2)]


async def test_hints_that_were_lost_during_an_outage_are_made_up_for_by_looking_again() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.database.message("c")
        await it.gateway.audience.recheck()
        await settled()
        assert ann.entries() == [("c", 2), ("c", 3)]


async def test_entries_of_the_feed_are_delivered_in_order_and_once_to_those_whom_they_concern() -> None:
    """While hints cannot be trusted; some have come as hints all the same, or were committed by this node."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        it.database.found("d", "ben")
        ann, ben = await it.enter("ann"), await it.enter("ben")
        it.tell(it.database.message("c"))
        it.database.message("d")
        it.database.message("c")
        it.database.leave("c", "ben")
        it.database.message("c")
        it.gateway.audience.hear_entries(
            [
                FeedEntry(FeedPosition(1, place), APP, entry)
                for place, entry in enumerate(it.database.logs["d"] + it.database.logs["c"])
            ]
        )
        await settled()
        assert ann.entries() == [("c", 2), ("c", 3), ("c", 4), ("c", 5)]
        assert ben.entries() == [("c", 2), ("d", 2), ("c", 3), ("c", 4)]
        assert it.database.asked["read"] == 0


async def test_looking_again_concerns_only_the_logs_asked_for() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.found("d", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.database.message("d")
        await it.gateway.audience.recheck(lambda key: key[1] == "d")
        await settled()
        assert ann.entries() == [("d", 2)]


async def test_looking_again_is_not_done_while_any_log_cannot_be_asked() -> None:
    """Unknown is not "nothing new": whoever looks must look again."""
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.found("d", "ann")
        ann = await it.enter("ann")
        it.database.message("d")
        it.database.dark.add("c")
        with pytest.raises(StorageUnavailable):
            await it.gateway.audience.recheck()
        await settled()
        assert ann.entries() == [("d", 2)]


async def test_logs_whose_routes_had_been_lost_look_again() -> None:
    """Until the route stood again, nobody sent hints here."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.routes.lost = [(APP, "c")]
        await it.gateway.audience.keep_once()
        await settled()
        assert ann.entries() == [("c", 2)]


async def test_looking_again_that_fails_is_left_to_the_poller() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        await it.enter("ann")
        it.routes.lost = [(APP, "c")]
        it.database.faults["heads"] = [StorageUnavailable("away")]
        outages = it.gateway.hearing.outages
        await it.gateway.audience.keep_once()
        await settled()
        assert it.gateway.hearing.outages == outages + 1


async def test_a_silent_cache_keeps_nobody_out_and_the_hints_are_doubted() -> None:
    async with hall() as it:
        it.gateway.hearing.trust("routes")
        it.database.found("c", "ann")
        it.routes.silent = True
        await it.enter("ann")
        assert it.gateway.hearing.why == "routes: silent"


async def test_what_arrives_while_the_log_is_read_is_delivered_after_it_and_once() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.database.hold("read")
        it.tell(it.database.message("c"))
        it.tell(it.database.message("c"), HeadsNote(APP, {"c": 4}))
        await settled()
        it.tell(it.database.message("c"))
        assert ann.entries() == []
        it.database.release("read")
        await settled()
        assert ann.entries() == [("c", seq) for seq in (2, 3, 4, 5)]
        it.tell(it.database.message("c"))
        assert ann.entries()[-1] == ("c", 6)


async def test_a_log_is_read_by_one_task_at_a_time_whatever_arrives_together() -> None:
    """Two at once would deliver entries twice, and in a row that begins again."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        for _ in range(3):
            it.database.message("c")
        it.tell(HeadsNote(APP, {"c": 2}), HeadsNote(APP, {"c": 3}), it.database.message("c"))
        await settled()
        assert ann.entries() == [("c", seq) for seq in range(2, 6)]
        assert it.gateway.audience.gaps == 1


async def test_a_hint_beyond_the_log_is_forgotten_and_entries_come_live_again() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.tell(HeadsNote(APP, {"c": 99}))
        await settled()
        it.tell(it.database.message("c"))
        assert ann.entries() == [("c", 2)]


@pytest.mark.parametrize("fault", [StorageUnavailable("away"), StorageCorrupt("damaged page")])
async def test_a_log_that_cannot_be_read_is_tried_again_until_it_can(fault: Exception) -> None:
    """The repair reader tells of each head once; were the room to give up, nobody would tell again (G4)."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.database.faults["read"] = [fault] * 3
        it.tell(HeadsNote(APP, {"c": 2}))
        await settled()
        it.tell(it.database.message("c"))
        assert ann.entries() == [], "what came in time waits for what did not"
        for _ in range(3):
            await it.clock.advance(1)
        await settled()
        assert ann.entries() == [("c", 2), ("c", 3)]


async def test_a_room_that_everybody_left_stops_trying() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.database.faults["read"] = [StorageUnavailable("away")] * 100
        it.tell(HeadsNote(APP, {"c": 2}))
        await settled()
        ann.vanish()
        await it.clock.advance(5)
        assert it.database.asked["read"] <= 2


async def test_a_fault_of_ours_in_a_room_lasts_until_the_next_hint_only() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.message("c")
        it.database.faults["read"] = [RuntimeError("a fault of ours")]
        it.tell(HeadsNote(APP, {"c": 2}))
        await settled()
        it.tell(it.database.message("c"))
        await settled()
        assert ann.entries() == [("c", 2), ("c", 3)]
        assert it.gateway.tasks.crashes == 1


# Joining ----------------------------------------------------------------------------------------------------------


async def test_a_new_conversation_is_followed_before_its_news_is_told() -> None:
    async with hall() as it:
        ann = await it.enter("ann")
        it.tell(it.database.join("c", "ann"))
        it.database.message("c")
        it.tell(it.database.account_joined("ann", "c"))
        await until(lambda: ann.entries())
        it.tell(it.database.message("c"))
        assert ann.entries() == [("~ann", 1), ("c", 3)]
        assert await it.routes.gateways([key("c")], ["n"]) == [frozenset({"n"})]


async def test_many_joinings_in_one_message_are_each_followed_and_told_once_in_order() -> None:
    """The roster writes a user's joinings of one moment in one batch."""
    async with hall() as it:
        ann = await it.enter("ann")
        convs = [f"c{number}" for number in range(20)]
        for conv in convs:
            it.database.join(conv, "ann")
        it.tell(*(it.database.account_joined("ann", conv) for conv in convs))
        await settled()
        assert ann.entries() == [("~ann", seq) for seq in range(1, 21)]
        it.tell(*(it.database.message(conv) for conv in convs))
        assert ann.entries()[20:] == [(conv, 2) for conv in convs]


async def test_all_devices_of_a_user_follow() -> None:
    async with hall() as it:
        phone, tablet = await it.enter("ann"), await it.enter("ann", "tablet")
        it.database.join("c", "ann")
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        it.tell(it.database.message("c"))
        assert phone.entries() == tablet.entries() == [("~ann", 1), ("c", 2)]


async def test_a_joining_whose_membership_cannot_be_read_is_tried_again() -> None:
    async with hall() as it:
        ann = await it.enter("ann")
        it.database.join("c", "ann")
        it.database.faults["memberships"] = [StorageUnavailable("away")] * 2
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        assert ann.entries() == []
        for _ in range(3):
            await it.clock.advance(1)
        it.tell(it.database.message("c"))
        assert ann.entries() == [("~ann", 1), ("c", 2)]


async def test_a_group_of_very_many_who_are_online_is_looked_up_in_few_questions() -> None:
    """One question each would fill the queue of readers and refuse everybody else's."""
    async with hall() as it:
        users = [f"u{number}" for number in range(300)]
        guests = await it.enter_all(users)
        asked = it.database.asked.total()
        it.database.join("c", *users)
        it.tell(*(it.database.account_joined(user, "c") for user in users))
        await until(lambda: all(guest.entries() for guest in guests))
        assert it.database.asked.total() - asked < 20
        it.tell(it.database.message("c"))
        assert all(guest.entries("c") == [("c", 2)] for guest in guests)


async def test_what_was_written_before_a_user_joined_is_not_pushed_to_them_by_a_room_that_lags() -> None:
    async with hall() as it:
        it.database.found("c", "ben")
        ben = await it.enter("ben")
        ann = await it.enter("ann")
        for _ in range(3):
            it.database.message("c")
        it.database.join("c", "ann")
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        it.tell(it.database.message("c"))
        await settled()
        assert ben.entries() == [("c", seq) for seq in (2, 3, 4, 5, 6)]
        assert ann.entries() == [("~ann", 1), ("c", 6)], "5 is fetched, for the news of the joining says so"


# Leaving ----------------------------------------------------------------------------------------------------------


async def test_who_leaves_hears_of_it_and_nothing_after_on_any_device() -> None:
    """P-7.13."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        phone, tablet, ben = await it.enter("ann"), await it.enter("ann", "tablet"), await it.enter("ben")
        it.tell(it.database.leave("c", "ann"), it.database.message("c"))
        it.tell(it.database.message("c"))
        assert phone.entries() == tablet.entries() == [("c", 2)]
        assert ben.entries() == [("c", 2), ("c", 3), ("c", 4)]


async def test_who_leaves_while_the_room_reads_its_log_hears_nothing_after() -> None:
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        ann, ben = await it.enter("ann"), await it.enter("ben")
        it.database.message("c")
        it.database.leave("c", "ann")
        it.tell(it.database.message("c"))
        await settled()
        assert ann.entries() == [("c", 2), ("c", 3)]
        assert ben.entries() == [("c", 2), ("c", 3), ("c", 4)]


async def test_who_leaves_and_comes_back_at_once_follows() -> None:
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        ann = await it.enter("ann")
        it.tell(it.database.leave("c", "ann"), it.database.join("c", "ann"))
        it.tell(it.database.account_left("ann", "c"), it.database.account_joined("ann", "c"))
        await settled()
        it.tell(it.database.message("c"))
        assert ann.entries("c") == [("c", 2), ("c", 4)], "3 is fetched, for the account log tells of it"


async def test_old_news_of_a_leaving_does_not_put_out_a_user_who_is_back() -> None:
    """A roster that crashed between the two may write them in the other order."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.tell(it.database.leave("c", "ann"), it.database.join("c", "ann"))
        it.tell(it.database.account_joined("ann", "c"), it.database.account_left("ann", "c"))
        await settled()
        it.tell(it.database.message("c"))
        assert ann.entries("c")[-1] == ("c", 4)


async def test_old_news_of_a_joining_does_not_let_in_a_user_who_has_left() -> None:
    """The roster lags: by the time it tells of the joining, the leaving is committed and its note long gone."""
    async with hall() as it:
        it.database.found("c", "ben")
        ben, ann = await it.enter("ben"), await it.enter("ann")
        it.tell(it.database.join("c", "ann"), it.database.leave("c", "ann"))
        it.tell(it.database.account_joined("ann", "c"))
        it.tell(it.database.message("c"))
        await settled()
        it.tell(it.database.message("c"))
        assert ann.entries() == [("~ann", 1)]
        assert ben.entries("c") == [("c", seq) for seq in (2, 3, 4, 5)]


async def test_a_user_removed_while_their_joining_is_looked_up_hears_nothing() -> None:
    async with hall() as it:
        it.database.found("c", "ben")
        ann = await it.enter("ann")
        it.database.join("c", "ann")
        it.database.hold("memberships")
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        left = it.database.leave("c", "ann")
        it.tell(left, it.database.message("c"))
        it.database.release("memberships")
        await settled()
        it.tell(it.database.message("c"))
        await settled()
        assert ann.entries("c") == []
        assert await follows(it, ann) == []


async def test_a_missed_leaving_is_made_up_for_by_the_account_log() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.leave("c", "ann")
        it.tell(it.database.account_left("ann", "c"))
        assert await follows(it, ann) == []


async def test_who_is_named_twice_in_one_question_is_in_the_room_once_and_leaves_it_whole() -> None:
    """As when a database comes back: both the client's list and the user's conversations may name a log."""
    async with hall() as it:
        it.database.found("c", "ben")
        ann = await it.enter("ann")
        await it.gateway.audience.follow(APP, "ann", [ann.session], ["c", "c"])
        assert await follows(it, ann) == []
        it.tell(it.database.message("c"))
        assert ann.entries("c") == []


async def test_who_came_back_between_two_questions_hears_nothing_of_the_time_away() -> None:
    """P-7.13. How far the log goes was asked while they were away, whether they are a member when they were back."""
    async with hall() as it:
        it.database.found("c", "ben")
        ann = await it.enter("ann")
        it.database.join("c", "ann")
        it.database.leave("c", "ann")
        it.database.hold("heads")
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        notes = [it.database.message("c"), it.database.join("c", "ann"), it.database.message("c")]
        it.database.release("heads")
        await settled()
        it.tell(*notes)
        assert ann.entries("c") == [("c", 5), ("c", 6)]


async def test_who_came_back_in_the_very_next_entry_is_not_removed_by_the_one_before() -> None:
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        ann = await it.enter("ann")
        it.database.leave("c", "ann")
        it.database.join("c", "ann")
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        it.tell(it.database.message("c"))
        await settled()
        assert ann.entries("c") == [("c", 3), ("c", 4)]
        assert await follows(it, ann) == ["c"]


async def test_who_came_back_is_not_removed_by_an_earlier_leaving_that_the_room_reads_late() -> None:
    """Its hint was lost, and the account log's news of the joining were faster."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        ann = await it.enter("ann")
        it.database.leave("c", "ann")
        it.database.message("c")
        it.database.join("c", "ann")
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        it.tell(it.database.message("c"))
        await settled()
        assert ann.entries("c") == [("c", 4), ("c", 5)]
        assert await follows(it, ann) == ["c"]


# Sessions that go -------------------------------------------------------------------------------------------------


async def test_a_session_that_ends_while_it_is_written_to_disturbs_nobody_else() -> None:
    """A slow reader is disconnected from inside the very loop that writes to the room (G7)."""
    async with hall() as it:
        users = [f"u{number}" for number in range(30)]
        it.database.found("c", *users)
        guests = [await it.enter(user) for user in users]
        for guest in guests[::2]:
            guest.socket.on_full = guest.session.overflowed
        it.tell(it.database.message("c"))
        it.tell(it.database.message("c"))
        assert [guest.ended for guest in guests] == [Code.SLOW_READER, 0] * 15
        assert all(guest.entries() == [("c", 2), ("c", 3)] for guest in guests[1::2])


async def test_the_last_session_may_end_while_it_is_written_to() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        ann.socket.on_full = ann.session.overflowed
        it.tell(it.database.leave("c", "ann"), it.database.message("c"))
        assert ann.ended == Code.SLOW_READER
        assert len(it.gateway.audience.rooms) == 0


async def test_rooms_and_routes_are_given_up_when_nobody_is_left() -> None:
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        ann, ben = await it.enter("ann"), await it.enter("ben")
        ann.vanish()
        await it.gateway.audience.flush()
        assert await it.routes.gateways([key("c"), key("~ann")], ["n"]) == [frozenset({"n"}), frozenset()]
        ben.vanish()
        await it.gateway.audience.flush()
        assert await it.routes.gateways([key("c")], ["n"]) == [frozenset()]
        assert len(it.gateway.audience.rooms) == 0


async def test_somebody_who_comes_as_the_last_one_goes_is_not_forgotten() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        first = await it.enter("ann", "phone")
        first.vanish()
        second = await it.enter("ann", "tablet")
        await it.gateway.audience.flush()
        assert await it.routes.gateways([key("c")], ["n"]) == [frozenset({"n"})]
        it.tell(it.database.message("c"))
        assert second.entries() == [("c", 2)]


# Cursors and faults -----------------------------------------------------------------------------------------------


async def test_cursors_go_to_all_who_follow_and_not_to_who_is_still_being_let_in() -> None:
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        ann = await it.enter("ann")
        it.database.hold("heads")
        ben = it.accept()
        ben.hello("ben")
        await settled()
        push = CursorsPush(conv="c", of=(MemberCursor("ben", 1, 1),))
        it.tell(CursorsNote(APP, "c", encode(push)), CursorsNote(APP, "nobody's", encode(push)))
        assert [frame["of"] for frame in ann.heard("cursors")] == [
            [{"user": "ben", "read": 1, "delivered": 1}]
        ]
        assert ben.frames == []
        it.database.release("heads")


async def test_the_sender_s_session_gets_no_entry_for_its_ack() -> None:
    """P-8.13."""
    async with hall() as it:
        it.database.found("c", "ann")
        phone, tablet = await it.enter("ann"), await it.enter("ann", "tablet")
        note = it.database.message("c", "ann")
        it.tell(EntryNote(APP, "c", note.seq, note.frame, phone.session.id))
        assert (phone.entries(), tablet.entries()) == ([], [("c", 2)])


async def test_a_note_for_logs_that_nobody_here_follows_is_passed_over() -> None:
    async with hall() as it:
        it.tell(it.database.message("c"), HeadsNote(APP, {"c": 5}), HeadsNote("other", {"c": 5}))
        await settled()
        del it.database.asked["blocked"]
        assert it.database.asked.total() == 0


async def test_the_bus_of_the_hall_reaches_the_audience() -> None:
    """What these tests tell the audience is what a publisher would."""
    async with hall() as it:
        it.database.found("c", "ann")
        ann, ben = await it.enter("ann"), await it.enter("ann", "tablet")
        ann.send("c", "k")
        await it.commit.drained()
        assert [frame["seq"] for frame in ann.heard("ack")] == [2]
        assert ben.entries() == [("c", 2)]
