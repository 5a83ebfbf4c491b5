"""Who is removed and comes back while they are let in: they hear all that is theirs, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from posthouse.gateway.audience import followed
from posthouse.messaging.notes import HeadsNote
from tests.gateway.fake_database import APP
from tests.gateway.hall import Frame, Guest, Hall, hall, settled, until


@asynccontextmanager
async def two_databases() -> AsyncIterator[Hall]:
    """`d` and ann's account lie in one, everything else in the other. ben is there, and a member of everything."""
    async with hall(place_of=lambda app, log: "b" if log in ("d", "~ann") else "a") as it:
        it.database.found("c", "ann", "ben")
        it.database.found("d", "ann", "ben")
        await it.enter("ben")
        yield it


async def knock(it: Hall, resume: Frame | None = None) -> Guest:
    """ann says hello; what she is let in with is still being asked."""
    guest = it.accept()
    guest.hello("ann", resume=resume)
    await settled()
    assert not guest.heard("welcome")
    return guest


async def comes_in(it: Hall, ann: Guest) -> list[tuple[str, int]]:
    """What ann hears of c, in the room in the end, and of one more message."""
    await until(lambda: ann.heard("welcome"))
    await settled()
    it.tell(it.database.message("c"))
    await settled()
    assert "c" in followed(ann.session)
    return ann.entries("c")


async def test_who_was_no_member_when_asked_but_is_by_their_inbox_is_let_in() -> None:
    async with two_databases() as it:
        it.database.leave("c", "ann")
        answering = it.database.delay("inboxes", "~ann")
        ann = await knock(it, resume=it.resume("ann", c=2, account_ann=2))
        it.tell(it.database.join("c", "ann"))
        it.tell(it.database.account_joined("ann", "c"))
        await settled()
        answering.set()
        assert ("c", 4) in await comes_in(it, ann)


async def test_who_was_put_out_and_is_back_before_their_inbox_is_read_is_let_in() -> None:
    async with two_databases() as it:
        answering = it.database.delay("inboxes", "~ann")
        ann = await knock(it, resume=it.resume("ann", c=1, account_ann=2))
        it.tell(it.database.leave("c", "ann"), it.database.join("c", "ann"))
        it.tell(it.database.account_left("ann", "c"), it.database.account_joined("ann", "c"))
        await settled()
        answering.set()
        assert ("c", 4) in await comes_in(it, ann)


async def test_that_one_is_no_member_is_believed_when_it_is_said_not_when_other_databases_have_answered() -> (
    None
):
    """By then the account log has told of the return, and been followed."""
    async with two_databases() as it:
        it.database.leave("c", "ann")
        answering = it.database.delay("memberships", "d")
        ann = await knock(it)
        it.tell(it.database.join("c", "ann"))
        it.tell(it.database.account_left("ann", "c"), it.database.account_joined("ann", "c"))
        await settled()
        answering.set()
        assert ("c", 4) in await comes_in(it, ann)


async def test_how_far_a_log_goes_hides_no_leaving_from_its_room() -> None:
    async with two_databases() as it:
        it.database.found("e", "ben")
        answering = it.database.delay("memberships", "d")
        ann = await knock(it)
        it.tell(it.database.join("e", "ann"))
        it.tell(it.database.account_joined("ann", "e"))
        await settled()
        it.database.leave("e", "ann")  # its hint is lost, and the next one's
        it.database.message("e")
        answering.set()
        await until(lambda: ann.heard("welcome"))
        for _ in range(2):
            it.tell(it.database.message("e"))
            await settled()
        assert [seq for _, seq in ann.entries("e") if seq > 3] == []
        assert "e" not in followed(ann.session)


async def test_who_is_let_in_while_it_is_asked_whether_they_are_back_hears_nothing_of_their_absence() -> None:
    async with two_databases() as it:
        answering = it.database.delay("memberships", "d")
        ann = await knock(it)
        it.tell(it.database.leave("c", "ann"))
        await settled()
        it.database.message("c")
        it.database.join("c", "ann")
        back = it.database.delay("memberships", "c")
        it.tell(it.database.account_left("ann", "c"), it.database.account_joined("ann", "c"))
        await settled()
        answering.set()
        await until(lambda: ann.heard("welcome"))
        it.tell(HeadsNote(APP, {"c": 4}))
        await settled()
        back.set()
        await settled()
        assert ("c", 3) not in ann.entries("c")
        assert ("c", 5) in await comes_in(it, ann)
