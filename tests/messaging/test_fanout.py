"""Rooms: strict order, gaps noticed, and tidy lists when sessions go."""

from dataclasses import dataclass

from hypothesis import given, strategies as st

from posthouse.messaging.fanout import Arrival, Room, Rooms


@dataclass(eq=False)
class Handle:
    gone: bool = False


def test_the_next_entry_is_delivered_an_older_one_is_not() -> None:
    room: Room[Handle] = Room(("app", "c"))
    room.admit(Handle(), 4)
    assert room.arrive(5) is Arrival.DELIVER
    assert room.arrive(5) is Arrival.OLD
    assert room.arrive(3) is Arrival.OLD


def test_an_entry_beyond_the_next_is_a_gap_and_says_how_far_to_read() -> None:
    room: Room[Handle] = Room(("app", "c"))
    room.admit(Handle(), 4)
    assert room.arrive(7) is Arrival.GAP
    assert (room.head, room.wanted) == (4, 7)
    assert room.arrive(5) is Arrival.GAP, "what arrives while the log is read is read there too"
    assert room.arrive(9) is Arrival.GAP
    assert room.wanted == 9


def test_before_the_head_is_known_nothing_is_delivered_and_nothing_is_forgotten() -> None:
    room: Room[Handle] = Room(("app", "c"))
    assert room.arrive(6) is Arrival.GAP
    room.hear(7)
    assert not room.behind, "from where would it be read?"
    room.learn(5)
    assert (room.head, room.wanted, room.behind) == (5, 7, True)


def test_what_arrived_before_a_head_that_includes_it_is_not_wanted() -> None:
    room: Room[Handle] = Room(("app", "c"))
    room.arrive(6)
    room.learn(6)
    assert (room.behind, room.arrive(7)) == (False, Arrival.DELIVER)


def test_a_head_once_known_is_not_moved_by_a_late_reading() -> None:
    room: Room[Handle] = Room(("app", "c"))
    room.learn(5)
    assert room.arrive(6) is Arrival.DELIVER
    room.admit(Handle(), 5)
    assert room.head == 6


def test_a_room_is_not_behind_while_it_is_being_read() -> None:
    room: Room[Handle] = Room(("app", "c"))
    room.learn(1)
    room.hear(3)
    assert room.behind
    room.reading = True
    assert not room.behind


def test_a_session_admitted_once_more_keeps_what_it_receives() -> None:
    room: Room[Handle] = Room(("app", "c"))
    session = Handle()
    room.enter(session)
    room.belong(session, 1)
    assert room.admit(session, 4) == 4
    assert room.admit(session, 9) == 9
    assert room.recipients(5) == [session]


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(0, 5))
def test_whatever_arrives_only_the_next_seq_is_ever_delivered(arrivals: list[int], head: int) -> None:
    room: Room[Handle] = Room(("app", "c"))
    room.admit(Handle(), head)
    delivered = [seq for seq in arrivals if room.arrive(seq) is Arrival.DELIVER]
    assert delivered == list(range(head + 1, head + 1 + len(delivered)))


def test_a_session_that_enters_receives_nothing_before_its_sync_and_then_only_what_lies_beyond() -> None:
    room: Room[Handle] = Room(("app", "c"))
    old, new = Handle(), Handle()
    room.enter(old)
    room.belong(old, 1)
    assert room.admit(old, 4) == 4
    room.enter(new)
    room.belong(new, 1)
    assert room.arrive(5) is Arrival.DELIVER
    assert room.recipients(5) == [old]
    assert room.admit(new, 7) == 7, "the room lags behind the log that the new one has read"
    assert [room.recipients(seq) for seq in (6, 7, 8)] == [[old], [old], [old, new]]


def test_a_sync_must_reach_what_the_room_delivered_while_it_read() -> None:
    room: Room[Handle] = Room(("app", "c"))
    old, new = Handle(), Handle()
    room.enter(old)
    room.belong(old, 1)
    room.admit(old, 4)
    room.enter(new)
    room.belong(new, 1)
    room.arrive(5)
    assert room.admit(new, 4) == 5
    assert room.recipients(6) == [old, new]


def test_what_was_before_a_membership_began_is_not_for_its_session() -> None:
    room: Room[Handle] = Room(("app", "c"))
    old, new = Handle(), Handle()
    room.enter(old)
    room.belong(old, 1)
    room.admit(old, 4)
    room.enter(new)
    assert room.concerned(5) == [old, new], "as long as nobody knows"
    room.belong(new, 7)
    assert [room.concerned(seq) for seq in (5, 7)] == [[old], [old, new]], "also before it receives anything"
    assert room.admit(new, 5) == 6
    assert [room.recipients(seq) for seq in (5, 6, 7)] == [[old], [old], [old, new]]


def test_a_session_that_follows_already_skips_the_time_away_that_its_room_has_not_read() -> None:
    room: Room[Handle] = Room(("app", "c"))
    session = Handle()
    room.enter(session)
    room.belong(session, 1)
    room.admit(session, 4)
    room.belong(session, 7)
    room.belong(session, 4)
    assert room.admit(session, 9) == 9
    assert [room.recipients(seq) for seq in (5, 6)] == [[], []]
    assert [room.concerned(seq) for seq in (6, 7)] == [[], [session]], "the return may be the very next entry"
    assert [room.recipients(seq) for seq in (7, 8)] == [[session], [session]]


def test_whoever_is_not_known_to_be_a_member_receives_nothing_though_its_sync_is_done() -> None:
    room: Room[Handle] = Room(("app", "c"))
    session = Handle()
    room.enter(session)
    assert room.admit(session, 4) == 4
    assert room.recipients(5) == []
    room.belong(session, 6)
    assert [room.recipients(seq) for seq in (5, 6)] == [[], [session]]


def test_what_a_sync_covers_says_nothing_about_who_has_left() -> None:
    room: Room[Handle] = Room(("app", "c"))
    old, new = Handle(), Handle()
    for session, head in ((old, 1), (new, 4)):
        room.enter(session)
        room.belong(session, 1)
        room.admit(session, head)
    assert room.recipients(3) == [old]
    assert room.concerned(3) == [old, new]


@given(st.lists(st.integers(0, 49), unique=True, max_size=50))
def test_sessions_that_go_in_any_order_leave_only_the_living(leaving: list[int]) -> None:
    room: Room[Handle] = Room(("app", "c"))
    handles = [Handle() for _ in range(50)]
    room.sessions.extend(handles)
    last = False
    for index in leaving:
        handles[index].gone = True
        last = room.note_gone(handles[index])
    living = [handle for handle in handles if not handle.gone]
    assert [handle for handle in room.sessions if not handle.gone] == living
    assert last is (not living)
    assert len(room.sessions) <= len(living) + 9 + len(room.sessions) // 4


@given(st.lists(st.tuples(st.integers(0, 19), st.booleans()), unique_by=lambda step: step[0]))
def test_a_room_that_the_living_have_left_holds_none_of_the_gone(steps: list[tuple[int, bool]]) -> None:
    room: Room[Handle] = Room(("app", "c"))
    handles = [Handle() for _ in range(20)]
    room.sessions.extend(handles)
    for index, leaves in steps:
        if leaves:
            room.discard(handles[index])
        else:
            handles[index].gone = True
            room.note_gone(handles[index])
    out = {index for index, _ in steps}
    assert [each for each in room.sessions if not each.gone] == [
        handle for index, handle in enumerate(handles) if index not in out
    ]
    assert room.sessions or len(out) == 20
    assert not room.sessions or len(out) < 20, "or the room would be kept for nobody"


def test_an_emptied_room_is_forgotten_and_a_new_one_starts_without_a_head() -> None:
    rooms: Rooms[Handle] = Rooms()
    handle = Handle()
    room, new = rooms.enter(("app", "c"), handle)
    assert new
    assert rooms.get(("app", "c")) is room
    assert rooms.enter(("app", "c"), Handle()) == (room, False)
    room.sessions.clear()
    rooms.drop(room)
    assert rooms.get(("app", "c")) is None
    assert rooms.get(("other", "c")) is None
