"""A user's inbox and conversation list, unread and mention counts, cursors."""

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.messaging.listing import listing
from posthouse.model.conversation import Kind, Role
from posthouse.model.cursor import Cursor
from posthouse.model.ids import account_id, direct_id
from posthouse.protocol.frames import MemberCursor, Summary
from posthouse.storage.base import CursorUpdate, Inbox
from posthouse.testing.contracts.storage.opened import OpenDatabase, Opened
from posthouse.testing.contracts.storage.talk import Talk, whole_list


async def _advance(talk: Talk, user: str, conv: str, read: int = 0, delivered: int = 0) -> list[CursorUpdate]:
    return await talk.database.advance([CursorUpdate(talk.app, user, Cursor(conv, read, delivered))])


async def _summary(talk: Talk, user: str, conv: str) -> Summary:
    (found,) = (each for each in await whole_list(talk, user) if each.conv == conv)
    return found


async def _listed(talk: Talk, user: str) -> tuple[str, ...]:
    (inbox,) = await talk.database.inboxes(talk.app, [user])
    assert inbox is not None
    return inbox.convs


async def _unread(talk: Talk, user: str, conv: str = "g") -> int:
    return (await _summary(talk, user, conv)).unread


class Lists(Opened):
    async def test_inboxes_name_the_conversations_of_each_user(self, talk: Talk) -> None:
        """In the order asked, for users without any as well, with the head of the account log."""
        await talk.start("g1", "ann", "ben")
        await talk.start("g2", "ann")
        ann, nobody, ben = await talk.database.inboxes(talk.app, ["ann", "nobody", "ben"])
        assert ann is not None
        assert (ann.user, ann.account_head, sorted(ann.convs)) == ("ann", 2, ["g1", "g2"])
        assert nobody == Inbox("nobody", 0, ())
        assert ben == Inbox("ben", 1, ("g1",))
        assert await talk.database.inboxes(talk.app, []) == []

    async def test_an_inbox_says_nothing_about_membership(self, talk: Talk) -> None:
        """It lies with the user and lags behind; the conversations themselves know who is a member now."""
        await talk.start("g", "ann", "ben")
        await talk.done(talk.leave("g", "ben"), talk.listed("stranger's", "ben", 1))
        assert sorted(await _listed(talk, "ben")) == ["g", "stranger's"]
        pairs = [("ben", "g"), ("ben", "stranger's"), ("ann", "g"), ("ben", "g")]
        assert await talk.database.memberships(talk.app, pairs) == [0, 0, 1, 0]
        assert await talk.database.memberships(talk.app, []) == []

    async def test_a_member_who_came_back_is_one_since_then(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben")
        await talk.done(talk.leave("g", "ben"), talk.join("g", "ben"))
        assert await talk.database.memberships(talk.app, [("ben", "g")]) == [3]

    async def test_joining_again_and_leaving_may_be_listed_in_any_order(self, talk: Talk) -> None:
        """Two readers of the feed may overlap: the later seq decides, not the later write."""
        await talk.start("g", "ann", "ben")
        await talk.done(talk.leave("g", "ben"), talk.join("g", "ben"))
        await talk.done(talk.listed("g", "ben", 3), talk.listed("g", "ben", 1, 2))
        assert await _listed(talk, "ben") == ("g",)

    async def test_an_inbox_keeps_what_was_left_apart(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben")
        await talk.start("h", "ann", "ben")
        await talk.done(talk.leave("g", "ben"), talk.listed("g", "ben", 1, 2))
        (ben,) = await talk.database.inboxes(talk.app, ["ben"])
        assert ben is not None
        assert (ben.convs, ben.left) == (("h",), ("g",))

    async def test_heads_of_many_logs(self, talk: Talk) -> None:
        await talk.start("g1", "ann")
        await talk.say("g1", "ann", "a", "b")
        await talk.start("g2", "ann")
        logs = ["g1", "g2", account_id("ann"), "missing"]
        assert await talk.database.heads(talk.app, logs) == {"g1": 3, "g2": 1, account_id("ann"): 2}
        assert await talk.database.heads(talk.app, []) == {}

    async def test_a_summary_says_all_about_a_conversation(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben", title="Rain")
        await talk.say("g", "ben", "one", "two")
        await _advance(talk, "ann", "g", read=2, delivered=3)
        summary = await _summary(talk, "ann", "g")
        last = (await talk.entries("g"))[-1]
        assert summary == Summary(
            conv="g", kind=Kind.GROUP, role=Role.OWNER, head=3, first_seq=1, joined_seq=1, title="Rain", members=2,
            unread=1, read=2, delivered=3, last=last,
        )  # fmt: skip

    async def test_a_direct_conversation_names_the_other(self, talk: Talk) -> None:
        conv = direct_id("ann", "ben")
        await talk.done(talk.direct("ann", "ben"), talk.listed(conv, "ann", 1), talk.listed(conv, "ben", 1))
        assert (await _summary(talk, "ann", conv)).peer == "ben"
        assert (await _summary(talk, "ben", conv)).peer == "ann"

    async def test_only_messages_beyond_the_cursor_are_unread(self, talk: Talk) -> None:
        """`head - cursor` is not unread: entries of other kinds do not count."""
        await talk.start("g", "ann", "ben")
        await talk.say("g", "ben", "1")
        await talk.done(
            talk.join("g", "cat"), talk.send("g", "ben", kind="x.poll"), talk.send("g", "ben", "2")
        )
        assert await _unread(talk, "ann") == 2
        for read, unread in ((1, 2), (2, 1), (3, 1), (4, 1), (5, 0)):
            await _advance(talk, "ann", "g", read=read)
            assert await _unread(talk, "ann") == unread, read

    async def test_what_came_before_joining_is_not_unread(self, talk: Talk) -> None:
        await talk.start("g", "ann")
        await talk.say("g", "ann", "1", "2")
        await talk.done(talk.join("g", "ben"), talk.listed("g", "ben", 4))
        assert await _unread(talk, "ben") == 0
        await talk.say("g", "ann", "3")
        assert await _unread(talk, "ben") == 1

    async def test_what_came_while_away_is_not_unread(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben")
        await talk.done(talk.leave("g", "ben"), talk.send("g", "ann"), talk.send("g", "ann"))
        await talk.done(talk.join("g", "ben"), talk.send("g", "ann"), talk.listed("g", "ben", 5))
        assert await _unread(talk, "ben") == 1

    async def test_mentions_from_before_leaving_do_not_count_again(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben")
        await talk.done(talk.send("g", "ann", mentions=("ben",)), talk.leave("g", "ben"))
        await talk.done(talk.join("g", "ben"), talk.listed("g", "ben", 4))
        assert (await _summary(talk, "ben", "g")).mentions == 0
        await talk.done(talk.send("g", "ann", mentions=("ben",)))
        assert (await _summary(talk, "ben", "g")).mentions == 1

    async def test_mentions_beyond_the_cursor_are_counted(self, talk: Talk) -> None:
        """Twice in one entry is once; who is no member is not mentioned."""
        await talk.start("g", "ann", "ben")
        await talk.done(
            talk.send("g", "ann", mentions=("ben", "ben")),
            talk.send("g", "ann", mentions=("ben", "eve")),
            talk.send("g", "ann", mentions=("ann",)),
        )
        assert (await _summary(talk, "ben", "g")).mentions == 2
        await _advance(talk, "ben", "g", read=2)
        assert (await _summary(talk, "ben", "g")).mentions == 1
        await talk.done(talk.join("g", "eve"), talk.listed("g", "eve", 5))
        assert (await _summary(talk, "eve", "g")).mentions == 0

    async def test_a_conversation_that_was_left_stays_as_it_was(self, talk: Talk) -> None:
        """Listed as left, with the last entry they saw; nothing in it counts as unread."""
        await talk.start("g", "ann", "ben")
        await talk.done(talk.send("g", "ann", mentions=("ben",)), talk.leave("g", "ben"))
        await talk.done(talk.listed("g", "ben", 1, 3), talk.send("g", "ann", mentions=("ben",)))
        summary = await _summary(talk, "ben", "g")
        assert (summary.left, summary.head, summary.unread, summary.mentions) == (True, 3, 0, 0)
        assert summary.last is not None
        assert summary.last.seq == 3

    @pytest.mark.parametrize("limit", [1, 3, 7, 25, 26])
    async def test_pages_make_up_the_whole_list(self, talk: Talk, limit: int) -> None:
        """Newest activity first; many conversations of one millisecond are neither skipped nor repeated."""
        convs = [f"g{n:02}" for n in range(25)]
        await talk.done(
            *(talk.group(conv, "ann") for conv in convs), *(talk.listed(conv, "ann", 1) for conv in convs)
        )
        await SystemClock().sleep(0.002)
        await talk.say("g07", "ann", "newest")
        found, page = [], ""
        while True:
            items, page = await listing(talk.database, talk.app, "ann", page=page, limit=limit)
            assert len(items) <= limit
            found += [each.conv for each in items]
            if not page:
                break
        assert found[0] == "g07"
        assert sorted(found) == convs

    async def test_a_list_of_nobody_is_empty(self, talk: Talk) -> None:
        await talk.start("g", "ann")
        assert await listing(talk.database, talk.app, "nobody") == ((), "")
        assert await talk.database.summaries(talk.app, "ann", []) == []
        assert await talk.database.summaries(talk.app, "ann", ["missing"]) == []

    async def test_only_what_was_asked_for_is_listed(self, talk: Talk) -> None:
        """Of the conversations given, those that the user is or was in, below the mark."""
        for conv in ("g", "h", "strangers'"):
            await talk.start(conv, "ben", *(() if conv == "strangers'" else ("ann",)))
        found = await talk.database.summaries(talk.app, "ann", ["g", "strangers'"])
        assert [each.summary.conv for each in found] == ["g"]
        below = await talk.database.summaries(talk.app, "ann", ["g", "h"], below=found[0].mark)
        assert found[0].mark not in [each.mark for each in below]

    @pytest.mark.parametrize(
        "page", ["x", ":", "9" * 40 + ":g", "9" * 5000 + ":g", "-1:g", "1:", "\0", "5:\0", "5:\ud800"]
    )
    async def test_a_mark_that_is_none_gives_a_page(self, talk: Talk, page: str) -> None:
        """Marks come from clients: one that was made up harms nobody."""
        await talk.start("g", "ann")
        items, _ = await listing(talk.database, talk.app, "ann", page=page)
        assert len(items) <= 1

    async def test_cursors_never_move_back(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben")
        await talk.say("g", "ann", "1", "2", "3", "4")
        for read, delivered, expected in (
            (0, 2, (0, 2)), (2, 0, (2, 2)), (1, 1, (2, 2)), (0, 0, (2, 2)), (3, 4, (3, 4)), (4, 2, (4, 4)),
        ):  # fmt: skip
            for moved in await _advance(talk, "ann", "g", read, delivered):
                assert moved.cursor == Cursor("g", *expected)
            member = await talk.database.member(talk.app, "g", "ann")
            assert member is not None
            assert (member.read_seq, member.delivered_seq) == expected
            assert await _unread(talk, "ann") == 4 - max(expected[0] - 1, 0)

    async def test_cursors_stop_at_the_head(self, talk: Talk) -> None:
        """A client that says it has read the future gets no further than everyone."""
        await talk.start("g", "ann", "ben")
        await talk.say("g", "ben", "1")
        moved = await _advance(talk, "ann", "g", read=2**53 - 1, delivered=2**53 - 1)
        assert moved == [CursorUpdate(talk.app, "ann", Cursor("g", 2, 2))]
        await talk.say("g", "ben", "2")
        assert await talk.database.cursors(talk.app, "g", ["ann"]) == [MemberCursor("ann", 2, 2)]
        assert await _unread(talk, "ann") == 1

    async def test_cursors_of_strangers_are_nothing(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben")
        await talk.done(talk.leave("g", "ben"))
        for user, conv in (("ben", "g"), ("eve", "g"), ("ann", "missing"), ("ann", account_id("ann"))):
            assert await _advance(talk, user, conv, read=1) == []
        assert await talk.database.cursors(talk.app, "g", []) == [MemberCursor("ann")]
        assert await talk.database.cursors(talk.app, "g", ["ben", "eve"]) == []
        await talk.done(talk.join("g", "ben"))
        assert await talk.database.cursors(talk.app, "g", ["ben"]) == [MemberCursor("ben")]

    async def test_many_cursors_move_at_once(self, talk: Talk) -> None:
        """Several users, conversations and repetitions in one call; the furthest stays."""
        users = [f"u{n}" for n in range(40)]
        for conv in ("g", "h"):
            await talk.start(conv, *users)
            await talk.say(conv, "u0", *map(str, range(9)))
        updates = [
            CursorUpdate(talk.app, user, Cursor(conv, read))
            for read in (3, 7, 5)
            for user in users
            for conv in ("g", "h")
        ]
        moved = await talk.database.advance(updates)
        furthest = {(each.user, each.cursor.conv): 0 for each in moved}
        for each in moved:
            furthest[each.user, each.cursor.conv] = max(
                furthest[each.user, each.cursor.conv], each.cursor.read
            )
        assert furthest == {(user, conv): 7 for user in users for conv in ("g", "h")}
        assert await talk.database.advance([]) == []
        for conv in ("g", "h"):
            assert set(await talk.database.cursors(talk.app, conv, [])) == {
                MemberCursor(user, 7, 7) for user in users
            }

    async def test_cursors_are_read_of_some_or_of_all(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben", "cat")
        await _advance(talk, "ben", "g", delivered=1)
        ben, cat = MemberCursor("ben", 0, 1), MemberCursor("cat")
        found = await talk.database.cursors(talk.app, "g", ["ben", "cat", "eve"])
        assert sorted(found, key=lambda each: each.user) == [ben, cat]
        found = await talk.database.cursors(talk.app, "g", [])
        assert sorted(found, key=lambda each: each.user) == [MemberCursor("ann"), ben, cat]

    async def test_cursors_are_durable(self, open_database: OpenDatabase) -> None:
        """They are answered only once they would outlive a restart."""
        talk = Talk(await open_database())
        await talk.start("g", "ann")
        await _advance(talk, "ann", "g", read=1)
        await talk.database.close()
        talk.database = await open_database()
        try:
            assert await talk.database.cursors(talk.app, "g", []) == [MemberCursor("ann", 1, 1)]
        finally:
            await talk.database.close()
