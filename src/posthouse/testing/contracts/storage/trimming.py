"""Contract: a log that was cut back shows what is kept, under the same numbers, and goes on."""

from posthouse.model.conversation import Kind, Role
from posthouse.storage.base import Create, Refused, Trimming
from posthouse.testing.contracts.storage.opened import Opened
from posthouse.testing.contracts.storage.talk import Talk, whole_list


class Trimmed(Opened):
    """For engines that can."""

    async def trim(self, talk: Talk, conv: str, first_seq: int) -> None:
        assert isinstance(talk.database, Trimming)
        await talk.database.trim(talk.app, conv, first_seq)

    async def test_what_is_kept_keeps_its_numbers_and_the_log_goes_on(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben")
        await talk.say("g", "ann", *map(str, range(10)))
        await self.trim(talk, "g", 8)
        page = await talk.page("g", "ben")
        assert ([each.seq for each in page.entries], page.first_seq, page.head) == ([8, 9, 10, 11], 8, 11)
        (sent,) = await talk.say("g", "ben", "on")
        assert sent.seq == 12
        assert [each.seq for each in (await talk.page("g", "ann", before=100)).entries] == [12, 11, 10, 9, 8]

    async def test_the_newest_entry_stays_whatever_is_asked(self, talk: Talk) -> None:
        await talk.start("g", "ann")
        await talk.say("g", "ann", "one", "two")
        await self.trim(talk, "g", 2**53 - 1)
        assert [each.seq for each in (await talk.page("g", "ann")).entries] == [3]
        assert (await talk.say("g", "ann", "three"))[0].seq == 4

    async def test_repeating_it_or_going_back_changes_nothing(self, talk: Talk) -> None:
        await talk.start("g", "ann")
        await talk.say("g", "ann", *map(str, range(5)))
        for first_seq in (4, 4, 2, 0):
            await self.trim(talk, "g", first_seq)
            assert (await talk.page("g", "ann")).first_seq == 4

    async def test_other_logs_and_unknown_ones_are_left_alone(self, talk: Talk) -> None:
        await talk.start("g", "ann")
        await talk.start("h", "ann")
        await talk.say("h", "ann", "one")
        await self.trim(talk, "g", 100)
        await self.trim(talk, "nowhere", 100)
        assert [each.seq for each in (await talk.page("h", "ann")).entries] == [1, 2]

    async def test_members_stay_members_and_unread_still_counts(self, talk: Talk) -> None:
        await talk.start("g", "ann", "ben")
        await talk.say("g", "ann", *map(str, range(6)))
        await self.trim(talk, "g", 7)
        (summary,) = await whole_list(talk, "ben")
        assert (summary.head, summary.unread) == (7, 6)
        assert not isinstance((await talk.append(talk.send("g", "ben")))[0], Refused)

    async def test_creating_the_log_again_is_still_a_repetition(self, talk: Talk) -> None:
        create = talk.change("g", Create(kind=Kind.GROUP, members=(("ann", Role.MEMBER),)), made_at_ms=0)
        await talk.done(create)
        await talk.say("g", "ann", "one", "two")
        await self.trim(talk, "g", 3)
        (again,) = await talk.done(create)
        assert again.duplicate

    async def test_the_feed_goes_on_behind_what_was_dropped(self, talk: Talk) -> None:
        await talk.start("g", "ann")
        await talk.say("g", "ann", *map(str, range(5)))
        position = await talk.database.end()
        await self.trim(talk, "g", 6)
        await talk.say("g", "ann", "new")
        found = [each for each in await talk.database.tail(position, 100) if each.app == talk.app]
        assert [each.entry.seq for each in found] == [7]
