"""What `Log.read` shows, to whom, in pages of any size, in both directions."""

import msgspec
import pytest

from posthouse.model.conversation import History
from posthouse.model.cursor import Cursor
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Code
from posthouse.storage.base import CursorUpdate, Inbox, Page, Refused
from posthouse.testing.contracts.storage.opened import Opened
from posthouse.testing.contracts.storage.talk import Talk, seqs


class Reading(Opened):
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 30, 100])
    async def test_pages_make_up_the_whole_log(self, talk: Talk, limit: int) -> None:
        """Read in pages of any size, rising or falling, the log comes out whole, and only the last page is complete."""
        await talk.done(talk.group("g", "ann"), *(talk.send("g", "ann", str(n)) for n in range(29)))
        rising, after = [], 0
        while True:
            page = await talk.page("g", "ann", limit, after=after)
            rising += seqs(page.entries)
            assert (page.head, page.first_seq, len(page.entries) <= limit) == (30, 1, True)
            if page.complete:
                break
            after = rising[-1]
        falling: list[int] = []
        page = await talk.page("g", "ann", limit, before=None)
        while True:
            falling += seqs(page.entries)
            if page.complete:
                break
            page = await talk.page("g", "ann", limit, before=falling[-1])
        assert rising == list(range(1, 31))
        assert falling == rising[::-1]

    async def test_a_page_begins_where_it_was_asked_to(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann"), *(talk.send("g", "ann", str(n)) for n in range(9)))
        assert seqs((await talk.page("g", "ann", 3, after=4)).entries) == [5, 6, 7]
        assert seqs((await talk.page("g", "ann", 3, before=4)).entries) == [3, 2, 1]
        assert seqs((await talk.page("g", "ann", 3, before=None)).entries) == [10, 9, 8]
        assert seqs((await talk.page("g", "ann", 9, after=2, before=5)).entries) == [3, 4]

    async def test_a_page_beyond_the_end_is_empty_and_complete(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann"))
        for range_ in ({"after": 1}, {"after": 2**53}, {"before": 1}, {"before": 0}):
            assert await talk.page("g", "ann", **range_) == Page((), 1, 1, True)

    async def test_a_page_is_bounded_by_bytes_but_never_empty(self, talk: Talk) -> None:
        """A page of large bodies ends early; one entry comes however large it is."""
        body = msgspec.json.encode({"text": "x" * 10_000})
        await talk.done(talk.group("g", "ann"), *(talk.send("g", "ann", body=body) for _ in range(9)))
        read = talk.database.read
        page = await read(talk.app, "g", "ann", after=1, limit=100, bytes_max=35_000)
        assert isinstance(page, Page)
        assert (seqs(page.entries), page.complete) == ([2, 3, 4], False)
        page = await read(talk.app, "g", "ann", before=None, limit=100, bytes_max=1)
        assert isinstance(page, Page)
        assert (seqs(page.entries), page.complete) == ([10], False)

    async def test_a_member_sees_what_came_since_they_joined(self, talk: Talk) -> None:
        await talk.done(
            talk.group("g", "ann"), talk.send("g", "ann"), talk.join("g", "ben"), talk.send("g", "ann")
        )
        assert await talk.seqs("g", "ben") == [3, 4]
        page = await talk.page("g", "ben", before=4)
        assert (seqs(page.entries), page.complete, page.head) == ([3], True, 4)
        assert await talk.seqs("g", "ann") == [1, 2, 3, 4]

    async def test_who_left_sees_what_came_until_then(self, talk: Talk) -> None:
        """Their own leaving is the last they see; the head they are told does not move any more."""
        await talk.done(talk.group("g", "ann", "ben"), talk.send("g", "ann"), talk.leave("g", "ben"))
        await talk.say("g", "ann", "secret", "secret")
        page = await talk.page("g", "ben")
        assert (seqs(page.entries), page.head, page.complete) == ([1, 2, 3], 3, True)
        assert seqs((await talk.page("g", "ben", before=None)).entries) == [3, 2, 1]

    async def test_who_came_back_does_not_see_what_was_said_between(self, talk: Talk) -> None:
        """Intervals are read as one sequence, in pages across the gap, in both directions."""
        await talk.done(talk.group("g", "ann", "ben"), talk.leave("g", "ben"))
        await talk.say("g", "ann", "secret", "secret")
        await talk.done(talk.join("g", "ben"), talk.send("g", "ann"))
        assert await talk.seqs("g", "ben") == [1, 2, 5, 6]
        page = await talk.page("g", "ben", 3, after=0)
        assert (seqs(page.entries), page.complete) == ([1, 2, 5], False)
        page = await talk.page("g", "ben", 3, before=None)
        assert (seqs(page.entries), page.complete) == ([6, 5, 2], False)
        page = await talk.page("g", "ben", 3, before=2)
        assert (seqs(page.entries), page.complete) == ([1], True)
        assert seqs((await talk.page("g", "ben", after=2)).entries) == [5, 6]

    async def test_a_conversation_with_open_history_shows_newcomers_all(self, talk: Talk) -> None:
        """And one who left sees all until then."""
        await talk.done(
            talk.group("g", "ann", history=History.ALL), talk.send("g", "ann"), talk.join("g", "ben")
        )
        assert await talk.seqs("g", "ben") == [1, 2, 3]
        await talk.done(talk.leave("g", "ben"), talk.send("g", "ann"))
        assert await talk.seqs("g", "ben") == [1, 2, 3, 4]
        assert (await talk.page("g", "ben")).head == 4

    async def test_the_back_end_sees_all(self, talk: Talk) -> None:
        await talk.done(talk.group("g", "ann"), talk.leave("g", "ann"), talk.send("g", "", trusted=True))
        assert await talk.seqs("g", None) == [1, 2, 3]

    async def test_an_account_log_is_read_by_its_owner_alone(self, talk: Talk) -> None:
        """An account log that has not begun is empty, not missing."""
        log = account_id("ann")
        assert await talk.page(log, "ann") == Page((), 0, 1, True)
        await talk.done(talk.listed("g", "ann", 1), talk.listed("g", "ann", 1, 5))
        entries = await talk.entries(log, "ann")
        assert [(each.seq, each.kind) for each in entries] == [
            (1, "conversation.joined"),
            (2, "conversation.left"),
        ]
        assert msgspec.json.decode(entries[1].body) == {"conv": "g", "joined_seq": 1, "left_seq": 5}
        refused = await talk.database.read(talk.app, log, "ben", limit=1)
        assert isinstance(refused, Refused)
        assert refused.code is Code.NOT_MEMBER
        assert await talk.seqs(log, None) == [1, 2]

    async def test_an_account_log_is_the_servers_to_write(self, talk: Talk) -> None:
        await talk.done(talk.listed("g", "ann", 1))
        log = account_id("ann")
        assert await talk.code(talk.send(log, "ann")) is Code.NOT_MEMBER
        listed = talk.listed("g", "ann", 1)
        assert await talk.code(msgspec.structs.replace(listed, conv="g")) is Code.INVALID_REQUEST

    async def test_asked_about_what_no_id_can_be_it_knows_nothing(self, talk: Talk) -> None:
        """U+0000 comes through JSON: one database cannot look it up, another might cut a text off there."""
        await talk.start("g", "ann")
        database, app, odd = talk.database, talk.app, "ann\0"
        for conv, user in (("g\0", "ann"), ("g", odd), ("g\0", None), (account_id(odd), odd)):
            page = await database.read(app, conv, user, limit=1)
            assert isinstance(page, Refused) or page == Page((), 0, 1, True)
        assert await database.conversation(app, "g\0") is None
        assert await database.member(app, "g", odd) is None
        assert await database.members(app, "g\0") == []
        assert await database.inboxes(app, [odd]) == [Inbox(odd, 0, ())]
        assert await database.heads(app, ["g\0", "g"]) == {"g": 1}
        assert await database.memberships(app, [(odd, "g"), ("ann", "g\0"), ("ann", "g")]) == [
            0,
            0,
            1,
        ]
        assert await database.summaries(app, odd, ["g"]) == []
        assert await database.summaries(app, "ann", ["g\0"]) == []
        assert await database.cursors(app, "g", [odd]) == []
        assert await database.cursors(app, "g\0", []) == []
        said = [CursorUpdate(app, odd, Cursor("g", 1)), CursorUpdate(app, "ann", Cursor("g\0", 1))]
        assert await database.advance(said) == []
        assert await database.users(app, [odd]) == []
