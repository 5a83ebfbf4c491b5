"""The way in: what is promised in `welcome` is whole, and whoever falls by the wayside leaves nothing behind."""

import pytest

from posthouse.gateway.admission import Rates
from posthouse.gateway.audience import RETRY_INTERVAL_S
from posthouse.gateway.limits import GatewayLimits
from posthouse.messaging.notes import BlockNote, HeadsNote
from posthouse.protocol.codes import Code
from posthouse.storage.base import StorageError, StorageUnavailable
from tests.gateway.fake_database import APP
from tests.gateway.hall import Guest, Hall, hall, settled, token, until

QUESTIONS = ("inboxes", "heads", "memberships")


def tidy(hall: Hall) -> bool:
    """Nothing is left of anybody."""
    gateway = hall.gateway
    return not (
        len(gateway.audience.rooms) or gateway.sessions or gateway.connections or gateway.tasks.crashes
    )


async def knocking(hall: Hall, user: str, device: str = "phone", **fields: object) -> Guest:
    """Somebody who has said hello and got as far as the test lets them."""
    guest = hall.accept()
    guest.hello(user, device, **fields)
    await settled()
    return guest


# What welcome says ------------------------------------------------------------------------------------------------


async def test_a_fresh_session_hears_how_far_its_account_log_goes() -> None:
    """P-5.3."""
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.found("d", "ann")
        welcome = (await it.enter("ann")).welcome
        assert (welcome["account_head"], welcome.get("resumed", False), welcome.get("changed", {})) == (
            2,
            False,
            {},
        )


async def test_a_resume_names_every_log_with_more_and_no_other() -> None:
    """P-10.4."""
    async with hall() as it:
        for conv in "abc":
            it.database.found(conv, "ann")
        it.database.message("b")
        resume = it.resume("ann", a=1, b=1, account_ann=3)
        welcome = (await it.enter("ann", resume=resume)).welcome
        assert welcome["resumed"]
        assert welcome["changed"] == {"b": 2, "c": 1}


@pytest.mark.parametrize(("question", "log"), [("heads", "c"), ("inboxes", "~ann")])
async def test_what_is_committed_while_someone_is_let_in_is_found_by_looking_again(
    question: str, log: str
) -> None:
    """The poller takes its place in the feed beyond an entry whose hint was lost, and has the rooms look. Where they
    stand was asked for before that entry, and is answered only now."""
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.hold(question)
        ann = await knocking(it, "ann", resume=it.resume("ann", c=1, account_ann=1))
        it.database.message(log)
        it.gateway.tasks.spawn("look again", it.gateway.audience.recheck())
        await settled()
        it.database.release(question)
        await until(lambda: ann.heard("welcome"))
        await settled()
        assert ann.welcome.get("changed", {}) == {log: 2} or ann.entries() == [(log, 2)]


async def test_a_resume_that_missed_more_than_a_frame_can_name_starts_afresh() -> None:
    """P-10.6: without `reset`, for the positions were right; the list comes in pages."""
    async with hall(limits=GatewayLimits(page_bytes_max=2_000)) as it:
        for number in range(100):
            it.database.found(f"conversation-{number}", "ann")
        welcome = (await it.enter("ann", resume=it.resume("ann", account_ann=100))).welcome
        assert (welcome.get("resumed", False), welcome.get("reset", 0), welcome.get("changed", {})) == (
            False,
            0,
            {},
        )
        assert welcome["account_head"] == 100


async def test_a_position_beyond_its_log_resets() -> None:
    """P-10.5: the log has moved back."""
    async with hall() as it:
        it.database.found("a", "ann")
        welcome = (await it.enter("ann", resume=it.resume("ann", a=2, account_ann=1))).welcome
        assert (welcome.get("resumed", False), welcome["reset"]) == (False, Code.EPOCH_CHANGED)


async def test_an_old_epoch_resets() -> None:
    async with hall() as it:
        it.database.found("a", "ann")
        welcome = (await it.enter("ann", resume=it.resume("ann", epoch="e0", a=1))).welcome
        assert (welcome.get("resumed", False), welcome["reset"]) == (False, Code.EPOCH_CHANGED)


@pytest.mark.parametrize(("user", "device"), [("ben", "phone"), ("ann", "tablet")])
async def test_someone_else_s_resume_token_ends_the_session(user: str, device: str) -> None:
    """P-10.3: another user's, or another device's."""
    async with hall() as it:
        guest = await knocking(it, "ann", resume=it.resume(user, device, a=1))
        assert guest.ended == Code.RESUME_REFUSED
        assert it.gateway.codes[Code.RESUME_REFUSED] == 1


# Between hello and welcome ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_is_committed_meanwhile_is_named_in_welcome_or_comes_after_it(question: str) -> None:
    """P-5.4: whatever is being read when it happens, nothing falls between, and nothing comes before welcome."""
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.hold(question)
        ann = await knocking(it, "ann", resume=it.resume("ann", c=1, account_ann=1))
        for _ in range(3):
            it.tell(it.database.message("c"))
            await settled()
        assert ann.frames == []
        it.database.release(question)
        await settled()
        it.tell(it.database.message("c"))
        await settled()
        assert ann.frames[0]["t"] == "welcome"
        named = ann.welcome.get("changed", {}).get("c", 1)
        assert ann.entries("c") == [("c", seq) for seq in range(named + 1, 6)]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_after_a_fresh_start_everything_comes_from_some_entry_on(question: str) -> None:
    """P-10.6: what is older is in the list, which the client asks for after welcome."""
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.hold(question)
        ann = await knocking(it, "ann")
        it.tell(it.database.message("c"), it.database.message("c"))
        it.database.release(question)
        await until(lambda: ann.heard("welcome"))
        listed = len(it.database.logs["c"])
        it.tell(it.database.message("c"))
        await settled()
        first = ann.entries("c")[0][1]
        assert first <= listed + 1
        assert ann.entries("c") == [("c", seq) for seq in range(first, 5)]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_hint_lost_meanwhile_is_made_up_for(question: str) -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.hold(question)
        ann = await knocking(it, "ann", resume=it.resume("ann", c=1, account_ann=1))
        it.database.message("c")
        it.tell(HeadsNote(APP, {"c": 2}))
        it.database.release(question)
        await settled()
        assert ann.welcome.get("changed", {}).get("c", 1) + len(ann.entries("c")) == 2


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_conversation_joined_meanwhile_is_followed_from_its_news_on(question: str) -> None:
    async with hall() as it:
        it.database.found("known", "ann")
        it.database.hold(question)
        ann = await knocking(it, "ann", resume=it.resume("ann", known=1, account_ann=1))
        it.database.join("c", "ben")
        it.database.message("c")
        it.database.join("c", "ann")
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        it.database.release(question)
        await settled()
        it.tell(it.database.message("c"))
        await settled()
        assert ann.frames[0]["t"] == "welcome"
        news = ann.welcome["changed"].get("~ann", 1) == 2 or ann.entries("~ann") == [("~ann", 2)]
        assert news, "the client hears of it, and fetches the rest"
        assert ann.entries("c") == [("c", 4)], "nothing from before the joining"


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("lost", [False, True])
async def test_a_user_removed_meanwhile_hears_nothing_after(question: str, lost: bool) -> None:
    """Neither in welcome nor pushed, also when the account log has not heard of it yet, and the hint is lost."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        it.database.hold(question)
        ann = await knocking(it, "ann", resume=it.resume("ann", c=1, account_ann=1))
        left = it.database.leave("c", "ann")
        if not lost:
            it.tell(left)
        it.tell(it.database.message("c"))
        it.database.release(question)
        await settled()
        it.tell(it.database.message("c"))
        await settled()
        assert all(seq <= 2 for _, seq in ann.entries("c"))
        assert ann.welcome.get("changed", {}).get("c", 0) <= 2


async def test_a_user_removed_between_two_questions_hears_nothing_after() -> None:
    """The inbox was read before, the room is entered after: the leaving passes between."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        it.database.hold("inboxes")
        ann = await knocking(it, "ann")
        it.tell(it.database.leave("c", "ann"))
        it.database.release("inboxes")
        await settled()
        it.tell(it.database.message("c"))
        assert ann.welcome
        assert ann.entries() == []


async def test_a_session_blocked_meanwhile_is_not_let_in() -> None:
    async with hall() as it:
        ann = it.accept()
        ann.hello("ann")
        it.tell(BlockNote(APP, "ann"))  # before its first step: nobody is in the account room yet
        await settled()
        assert (ann.ended, ann.heard("welcome")) == (Code.BLOCKED, [])


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_connection_that_breaks_meanwhile_leaves_nothing_behind(question: str) -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.hold(question)
        ann = await knocking(it, "ann")
        ann.vanish()
        it.database.release(question)
        await settled()
        await it.gateway.audience.flush()
        assert ann.frames == []
        assert tidy(it)
        assert await it.routes.gateways([(APP, "c"), (APP, "~ann")], ["n"]) == [frozenset(), frozenset()]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (StorageUnavailable("away"), Code.OVERLOADED),
        (StorageError("odd"), Code.OVERLOADED),
        (KeyError("x"), Code.INTERNAL),
    ],
)
async def test_what_goes_wrong_meanwhile_sends_the_client_to_come_again(
    question: str, fault: Exception, code: Code
) -> None:
    """Never is it left waiting for a welcome that cannot come."""
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.faults[question].append(fault)
        ann = await knocking(it, "ann")
        assert ann.ended == code
        assert ann.frames[-1]["reconnect_in_ms"] > 0
        ann.vanish()
        assert len(it.gateway.audience.rooms) == 0
        again = await it.enter("ann")
        it.tell(it.database.message("c"))
        assert again.entries() == [("c", 2)]


# Devices ----------------------------------------------------------------------------------------------------------


async def test_a_newer_connection_of_a_device_replaces_the_older() -> None:
    """P-5.5."""
    async with hall() as it:
        older = await it.enter("ann")
        newer = await it.enter("ann")
        assert (older.ended, newer.ended) == (Code.REPLACED, 0)
        older.vanish()
        newest = await it.enter("ann")
        assert (newer.ended, newest.ended) == (Code.REPLACED, 0)


async def test_the_connection_opened_last_stays_also_when_it_was_let_in_first() -> None:
    """`replaced` says stop: told to the connection that the client uses, it would stay away for ever."""
    async with hall() as it:
        older = it.accept()
        await it.clock.advance(1)
        newer = await it.enter("ann")
        older.hello("ann")
        await settled()
        assert (older.ended, newer.ended) == (Code.REPLACED, 0)
        assert older.heard("welcome") == []
        older.vanish()
        assert it.gateway.sessions == {newer.session.id: newer.session}


async def test_devices_and_users_and_apps_do_not_replace_each_other() -> None:
    async with hall() as it:
        guests = [await it.enter("ann"), await it.enter("ann", "tablet"), await it.enter("ben")]
        other = it.accept()
        other.say(t="hello", token=token("ann", "other"), device="phone")
        await until(lambda: other.heard("welcome"))
        assert [guest.ended for guest in (*guests, other)] == [0] * 4


# How many at once -------------------------------------------------------------------------------------------------


async def test_logins_beyond_the_pace_are_sent_away_with_a_time_and_resumes_are_not() -> None:
    """P-5.6."""
    async with hall(Rates(logins_per_s=10.0, logins_burst=2.0)) as it:
        guests = [await knocking(it, f"u{number}") for number in range(5)]
        assert [guest.ended for guest in guests] == [0, 0] + [Code.OVERLOADED] * 3
        waits = [guest.frames[-1]["reconnect_in_ms"] for guest in guests[2:]]
        assert all(50 < wait < 3_000 for wait in waits)
        assert len(set(waits)) == 3, "they do not all come back together"
        await it.enter("back", resume=it.resume("back", account_back=0))
        await it.clock.advance(1)
        await it.enter("later")


async def test_who_is_sent_away_is_told_of_another_node_where_there_is_one() -> None:
    async with hall(Rates(logins_per_s=10.0, logins_burst=1.0)) as it:
        await it.enter("first")
        alone = await knocking(it, "second")
        it.gateway.elsewhere = lambda: "ws://other/v1/ws"
        with_others = await knocking(it, "third")
        assert "endpoint" not in alone.heard("goaway")[0]
        assert with_others.heard("goaway")[0]["endpoint"] == "ws://other/v1/ws"
        assert with_others.heard("goaway")[0]["reconnect_in_ms"] > 0, "the others may be as full"


async def test_more_than_may_enter_at_once_are_sent_away_also_when_they_resume() -> None:
    async with hall(limits=GatewayLimits(entering_max=2)) as it:
        it.database.hold("inboxes")
        waiting = [await knocking(it, f"u{number}") for number in range(2)]
        third = await knocking(it, "third", resume=it.resume("third", account_third=0))
        assert third.ended == Code.OVERLOADED
        it.database.release("inboxes")
        await settled()
        assert all(guest.welcome for guest in waiting)
        await it.enter("third", resume=it.resume("third", account_third=0))


async def test_many_who_come_at_once_are_looked_up_in_few_questions() -> None:
    """A storm of resumes must not become a storm of queries."""
    async with hall() as it:
        users = [f"u{number}" for number in range(400)]
        it.database.found("c", *users)
        guests = [it.accept() for _ in users]
        for user, guest in zip(users, guests, strict=True):
            guest.hello(user, resume=it.resume(user, c=1))
        await until(lambda: all(guest.heard("welcome") for guest in guests))
        assert it.database.asked.total() <= 8


# Tokens -----------------------------------------------------------------------------------------------------------


async def test_a_renewed_token_lets_the_session_live_on() -> None:
    """P-4.5."""
    async with hall() as it:
        ann = it.accept()
        ann.say(t="hello", token=token("ann", ttl_s=100), device="phone", heartbeat_s=300)
        await until(lambda: ann.heard("welcome"))
        ann.say(t="renew", ref=7, token=token("ann", ttl_s=1_000))
        assert [frame["ref"] for frame in ann.heard("done")] == [7]
        assert ann.session.expires_s - it.clock.now_ms() // 1000 == 1_000


@pytest.mark.parametrize(
    "other",
    [token("ben"), token("ann", "other"), token("ann", device="tablet"), "x.y.z", token("ann", ttl_s=-1)],
)
async def test_a_renewal_that_is_not_ours_is_refused_and_the_session_goes_on(other: str) -> None:
    async with hall() as it:
        ann = await it.enter("ann")
        before = ann.session.expires_s
        ann.say(t="renew", ref=7, token=other)
        assert ann.codes() in ([Code.TOKEN_INVALID], [Code.TOKEN_EXPIRED])
        assert (ann.ended, ann.session.expires_s) == (0, before)


async def test_a_database_that_does_not_answer_keeps_what_lies_in_others_waiting_only_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("posthouse.gateway.entrance.PATIENCE_S", 0.0)
    async with hall(place_of=lambda app, log: "b" if log == "hung" else "a") as it:
        it.database.found("c", "ann")
        it.database.found("hung", "ann")
        answering = it.database.delay("heads", "hung")
        ann = await it.enter("ann")
        it.tell(it.database.message("c"))
        assert ann.entries() == [("c", 2)]
        answering.set()
        await settled()
        await it.clock.advance(RETRY_INTERVAL_S)
        await settled()
        assert ann.heard("heads") == [{"t": "heads", "heads": {"hung": 1}}]


async def test_who_resumes_does_not_wait_for_the_database_of_their_own_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("posthouse.gateway.entrance.PATIENCE_S", 0.0)
    async with hall(place_of=lambda app, log: "b" if log == "~ann" else "a") as it:
        it.database.found("c", "ann")
        it.database.hold("inboxes")
        ann = await it.enter("ann", resume=it.resume("ann", c=1, account_ann=1))
        it.tell(it.database.message("c"))
        assert ann.entries() == [("c", 2)]
        await settled()
        it.database.found("d", "ann")
        it.database.release("inboxes")
        await it.clock.advance(RETRY_INTERVAL_S)
        await settled()
        assert ann.heard("heads") == [{"t": "heads", "heads": {"~ann": 2, "d": 1}}]
        it.tell(it.database.message("d"))
        assert ann.entries("d") == [("d", 2)]


async def test_a_conversation_that_nobody_can_say_anything_about_keeps_nobody_out() -> None:
    """Unknown is not none: the session is let in, and told how far the log goes once its database can be asked."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        it.database.found("dark", "ann", "ben")
        it.database.dark.add("dark")
        ann = await it.enter("ann", resume=it.resume("ann", c=1, dark=1, account_ann=2))
        assert ann.welcome["resumed"]
        assert ann.welcome.get("changed", {}) == {}
        await settled()
        it.database.message("dark")  # its hint is lost with the database
        it.database.dark.clear()
        await it.clock.advance(RETRY_INTERVAL_S)
        await settled()
        assert ann.heard("heads") == [{"t": "heads", "heads": {"dark": 2}}]
        it.tell(it.database.message("dark"))
        await settled()
        assert ann.entries("dark") == [("dark", 3)]


async def test_who_resumes_is_let_in_while_the_database_of_their_own_account_is_away() -> None:
    """It would otherwise keep them from conversations that lie elsewhere; what they joined meanwhile comes later."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        it.database.found("missed", "ann", "ben")
        it.database.dark.add("~ann")
        ann = await it.enter("ann", resume=it.resume("ann", c=1, account_ann=1))
        assert ann.welcome["resumed"]
        it.tell(it.database.message("c"))
        await settled()
        assert ann.entries("c") == [("c", 2)]
        it.database.dark.clear()
        await it.clock.advance(RETRY_INTERVAL_S)
        await settled()
        assert ann.heard("heads") == [{"t": "heads", "heads": {"~ann": 2, "missed": 1}}]
        it.tell(it.database.message("missed"), it.database.account_joined("ann", "d"))
        await settled()
        assert ann.entries("missed") == [("missed", 2)]
        assert ann.entries("~ann") == [("~ann", 3)]


async def test_who_resumes_hears_nothing_of_conversations_that_they_have_left() -> None:
    """Where nobody can say what they follow, the client's word is not enough."""
    async with hall() as it:
        it.database.found("c", "ann", "ben")
        it.database.leave("c", "ann")
        it.database.dark.add("~ann")
        ann = await it.enter("ann", resume=it.resume("ann", c=2, stranger=5))
        it.tell(it.database.message("c"))
        await settled()
        assert ann.entries() == []


async def test_who_starts_afresh_comes_back_when_their_account_can_be_asked() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        it.database.dark.add("~ann")
        ann = it.accept()
        ann.hello("ann")
        await until(lambda: ann.ended)
        assert ann.ended == Code.OVERLOADED


async def test_who_was_removed_meanwhile_hears_nothing_of_it() -> None:
    async with hall() as it:
        it.database.found("dark", "ann", "ben")
        it.database.dark.add("dark")
        ann = await it.enter("ann")
        await settled()
        it.database.leave("dark", "ann")
        it.database.dark.clear()
        await it.clock.advance(RETRY_INTERVAL_S)
        await settled()
        it.tell(it.database.message("dark"))
        await settled()
        assert (ann.heard("heads"), ann.entries("dark")) == ([], [])


async def test_a_conversation_joined_while_its_database_is_away_does_not_hold_up_the_account_log() -> None:
    async with hall() as it:
        it.database.found("c", "ann")
        ann = await it.enter("ann")
        it.database.join("dark", "ann", "ben")
        it.database.dark.add("dark")
        it.tell(it.database.account_joined("ann", "dark"))
        it.database.join("d", "ann", "ben")
        it.tell(it.database.account_joined("ann", "d"))
        await settled()
        assert ann.entries("~ann") == [("~ann", 2), ("~ann", 3)]
        it.tell(it.database.message("d"))
        await settled()
        assert ann.entries("d") == [("d", 2)]
        it.database.dark.clear()
        await it.clock.advance(RETRY_INTERVAL_S)
        await settled()
        it.tell(it.database.message("dark"))
        await settled()
        assert ann.entries("dark") == [("dark", 2)]
