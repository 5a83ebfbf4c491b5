"""One session a device, the newest, wherever it is: of two exactly one stays, in whatever order nodes hear of them."""

from posthouse.messaging.notes import OpenedNote
from posthouse.model.ids import account_id
from posthouse.protocol.codes import Code
from tests.gateway.fake_database import APP
from tests.gateway.hall import Guest, Hall, hall, until


def told(it: Hall) -> list[OpenedNote]:
    notes: list[OpenedNote] = []
    it.gateway.devices.tell = notes.append
    return notes


def opened(device: str = "phone", at_ms: int = 2**45, session: str = "m.1") -> OpenedNote:
    return OpenedNote(APP, account_id("ann"), device, session, at_ms)


async def test_a_session_that_goes_live_is_told_to_the_other_nodes() -> None:
    async with hall() as it:
        notes = told(it)
        ann = await it.enter("ann")
        assert [(note.conv, note.device, note.session) for note in notes] == [
            ("~ann", "phone", ann.session.id)
        ]


async def test_a_newer_session_elsewhere_ends_the_one_here() -> None:
    async with hall() as it:
        ann, tablet = await it.enter("ann"), await it.enter("ann", "tablet")
        it.tell(opened())
        assert (ann.ended, tablet.ended) == (Code.REPLACED, 0)


async def test_an_older_session_elsewhere_ends_nothing_here() -> None:
    """Notes may come late."""
    async with hall() as it:
        ann = await it.enter("ann")
        it.tell(opened(at_ms=1))
        assert not ann.ended


async def test_what_a_node_tells_of_its_own_session_does_not_end_it() -> None:
    async with hall() as it:
        notes = told(it)
        ann = await it.enter("ann")
        it.tell(*notes)
        assert not ann.ended


async def test_of_two_sessions_of_one_moment_exactly_one_stays() -> None:
    """Each node hears of the other's: were the order not the same for both, both would end, or neither."""
    async with hall() as one, hall() as other:
        heard_of_one, heard_of_other = told(one), told(other)
        other.gateway._started_ms += 1  # names of sessions differ, as they do between nodes
        first: Guest = await one.enter("ann")
        second: Guest = await other.enter("ann")
        one.tell(*heard_of_other)
        other.tell(*heard_of_one)
        assert sorted([first.ended, second.ended]) == [0, Code.REPLACED]


async def test_which_session_is_the_newer_says_the_device_whatever_the_nodes_clocks_say() -> None:
    """A session that its client lost while it was let in goes live late, on a node whose clock is ahead."""
    async with hall() as here:
        ann = await here.enter("ann", at_ms=2_000)
        ends = []
        for at_ms in (1_000, 3_000):
            here.tell(opened(at_ms=at_ms))
            ends.append(ann.ended)
        assert ends == [0, Code.REPLACED]


async def test_on_one_node_the_later_hello_stays_whichever_is_let_in_first() -> None:
    async with hall() as here:
        newer = await here.enter("ann", at_ms=2_000)
        older = here.accept()
        older.hello("ann", at_ms=1_000)
        await until(lambda: older.ended)
        assert (newer.ended, older.ended) == (0, Code.REPLACED)
