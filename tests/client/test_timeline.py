"""Every entry is delivered exactly once and in order, whatever happens to pushes, pages and room."""

from dataclasses import dataclass, field

import msgspec
from hypothesis import given, strategies as st

from posthouse.client.timeline import (
    FETCHES_MAX,
    GAP_WAIT_S,
    HELD_ENTRIES_MAX,
    UNKNOWN_LOGS_MAX,
    Fetching,
    Timelines,
)
from posthouse.model.entry import Entry
from posthouse.protocol.frames import POSITIONS_MAX


def entry(seq: int, log: str = "room") -> Entry:
    return Entry(conv=log, seq=seq, kind="message", at_ms=0, ordinal=seq, body=msgspec.Raw(b"{}"))


@dataclass
class Reader:
    """An application with limited room, and its timelines."""

    room: int = 1_000_000
    got: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.timelines = Timelines(self.take)

    def take(self, entry: Entry) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        self.got.append(entry.seq)
        return True

    def push(self, seq: int, now: float = 0.0, log: str = "room") -> None:
        if not self.timelines.apply(entry(seq, log)):
            self.timelines.hold(entry(seq, log), now)


def started(applied: int = 0, room: int = 1_000_000) -> Reader:
    reader = Reader(room)
    reader.timelines.start("room", applied)
    return reader


def test_entries_in_order_are_delivered_at_once() -> None:
    """P-9.2."""
    reader = started(applied=5)
    for seq in (6, 7, 8):
        reader.push(seq)
    assert reader.got == [6, 7, 8]
    assert reader.timelines.applied("room") == 8


def test_a_repeated_entry_is_dropped_and_counted() -> None:
    """P-9.2."""
    reader = started()
    for seq in (1, 1, 2, 1):
        reader.push(seq)
    assert reader.got == [1, 2]
    assert reader.timelines.duplicates == 2


def test_an_early_entry_waits_for_the_missing_one() -> None:
    """P-9.4, P-9.5: a gap that closes in time is not fetched."""
    reader = started()
    reader.push(2, now=0.0)
    assert reader.got == []
    reader.push(1, now=GAP_WAIT_S / 2)
    assert reader.got == [1, 2]
    assert reader.timelines.fetches(10.0) == []
    assert reader.timelines.behind == 0


def test_a_gap_that_stays_is_fetched_exactly() -> None:
    """P-9.5: the client waits 200 ms, then fetches no more than is lacking."""
    reader = started()
    reader.push(1)
    reader.push(5, now=0.0)
    assert reader.timelines.fetches(GAP_WAIT_S / 2) == []
    assert reader.timelines.due == GAP_WAIT_S
    assert reader.timelines.fetches(GAP_WAIT_S) == [Fetching("room", after=1, limit=3)]
    reader.timelines.page("room", [entry(2), entry(3), entry(4)], False, GAP_WAIT_S)
    assert reader.got == [1, 2, 3, 4, 5]
    assert reader.timelines.behind == 0


def test_entries_that_arrived_while_their_page_was_on_its_way_are_not_delivered_again() -> None:
    """P-9.7, P-9.8."""
    reader = started()
    reader.timelines.note_head("room", 3)
    reader.timelines.fetches(0.0)
    reader.push(1)
    reader.push(2)
    reader.timelines.page("room", [entry(1), entry(2), entry(3)], True, 0.0)
    assert reader.got == [1, 2, 3]


def test_numbers_left_out_of_a_fetched_page_are_not_waited_for() -> None:
    """P-9.7."""
    reader = started(applied=3)
    reader.timelines.note_head("room", 21)
    assert len(reader.timelines.fetches(0.0)) == 1
    reader.timelines.page("room", [entry(20), entry(21)], True, 0.0)
    assert reader.got == [20, 21]
    assert reader.timelines.behind == 0


def test_a_hint_that_comes_while_a_page_is_on_its_way_is_not_lost() -> None:
    """P-9.6."""
    reader = started()
    reader.timelines.note_head("room", 2)
    reader.timelines.fetches(0.0)
    reader.timelines.note_head("room", 3)
    reader.timelines.page("room", [entry(1), entry(2)], True, 0.0)
    assert reader.timelines.fetches(0.0) == [Fetching("room", after=2, limit=1)]


def test_a_head_that_nothing_visible_reaches_is_asked_for_once() -> None:
    reader = started()
    reader.timelines.note_head("room", 9)
    assert len(reader.timelines.fetches(0.0)) == 1
    reader.timelines.page("room", [], True, 0.0)
    assert reader.timelines.fetches(100.0) == []


def test_too_many_early_entries_are_dropped_and_fetched() -> None:
    """P-9.12."""
    reader = started()
    last = HELD_ENTRIES_MAX + 2
    for seq in range(2, last + 1):
        reader.push(seq, now=0.0)
    assert reader.timelines.overflows == 1
    (fetching,) = reader.timelines.fetches(0.0)
    assert fetching.after == 0
    reader.timelines.page("room", [entry(seq) for seq in range(1, last + 1)], True, 0.0)
    assert reader.got == list(range(1, last + 1))


def test_an_entry_without_room_is_fetched_when_there_is_room() -> None:
    reader = started(room=1)
    for seq in (1, 2, 3):
        reader.push(seq)
    assert reader.got == [1]
    assert reader.timelines.fetches(100.0) == []
    reader.room = 10
    reader.timelines.make_room()
    assert reader.timelines.fetches(100.0) == [Fetching("room", after=1, limit=2)]
    reader.timelines.page("room", [entry(2), entry(3)], True, 100.0)
    assert reader.got == [1, 2, 3]


def test_entries_heard_before_a_log_begins_are_fetched_when_it_does() -> None:
    reader = Reader()
    reader.push(7)
    reader.timelines.start("room", 5)
    assert reader.timelines.fetches(0.0) == [Fetching("room", after=5, limit=2)]


def test_a_log_that_may_have_been_forgotten_is_looked_at_when_it_begins() -> None:
    reader = Reader()
    for number in range(UNKNOWN_LOGS_MAX + 1):
        reader.push(7, log=f"log {number}")
    reader.timelines.start("log 0", 6)
    assert len(reader.timelines.fetches(0.0)) == 1


def test_few_logs_are_caught_up_at_once() -> None:
    reader = Reader()
    for number in range(FETCHES_MAX + 3):
        reader.timelines.start(f"log {number}", 0, target=1)
    assert len(reader.timelines.fetches(0.0)) == FETCHES_MAX
    assert reader.timelines.fetches(0.0) == []
    reader.timelines.page("log 0", [entry(1, "log 0")], True, 0.0)
    assert len(reader.timelines.fetches(0.0)) == 1


def test_a_log_that_the_user_left_is_forgotten_once_its_last_entry_was_delivered() -> None:
    reader = started(applied=3)
    assert not reader.timelines.end("room", 5)
    reader.timelines.fetches(0.0)
    reader.timelines.page("room", [entry(4), entry(5)], True, 0.0)
    assert reader.timelines.applied("room") is None


def test_the_rest_of_a_log_that_has_ended_is_fetched_in_the_next_session() -> None:
    reader = started(applied=3)
    reader.timelines.end("room", 5)
    reader.timelines.fetches(0.0)
    reader.timelines.lose_connection()
    reader.timelines.pursue_ends()
    assert reader.timelines.fetches(0.0) == [Fetching("room", after=3, limit=2)]
    reader.timelines.page("room", [entry(4), entry(5)], True, 0.0)
    assert reader.got == [4, 5]
    assert reader.timelines.applied("room") is None


def test_a_log_is_not_forgotten_when_its_page_goes_on_after_a_return() -> None:
    reader = started(applied=3)
    reader.timelines.end("room", 5)
    reader.timelines.fetches(0.0)
    reader.timelines.page("room", [entry(4), entry(5), entry(9)], True, 0.0)
    assert reader.timelines.applied("room") == 9


def test_news_of_an_end_do_not_end_a_log_that_was_read_beyond_after_a_return() -> None:
    reader = started(applied=9)
    assert not reader.timelines.end("room", 5)
    reader.timelines.resume("room", 8)
    reader.push(9)
    reader.push(10)
    assert reader.got == [10]


def test_a_log_that_the_user_left_is_forgotten_at_once_when_nothing_of_it_is_missing() -> None:
    reader = started(applied=5)
    assert reader.timelines.end("room", 5)
    assert reader.timelines.applied("room") is None


def test_at_most_so_many_positions_are_told_and_the_account_log_is_always_among_them() -> None:
    reader = Reader()
    reader.timelines.start("~ann", 4)
    for number in range(POSITIONS_MAX + 5):
        reader.timelines.start(f"log {number}", 1)
    positions = reader.timelines.positions("~ann")
    assert len(positions) == POSITIONS_MAX
    assert positions["~ann"] == 4


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(st.just("push"), st.integers(0, 6)),
        st.tuples(st.just("lose"), st.integers(0, 6)),
        st.tuples(st.just("repeat"), st.integers(1, 40)),
        st.tuples(st.just("read"), st.integers(1, 8)),
        st.tuples(st.just("answer"), st.integers(1, 5)),
        st.tuples(st.just("wait"), st.integers(1, 3)),
        st.tuples(st.just("reconnect"), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS, st.sets(st.integers(1, 200), max_size=60), st.integers(1, 12))
def test_any_loss_reordering_repetition_and_slowness_ends_in_each_visible_entry_once_in_order(
    steps: list[tuple[str, int]], hidden: set[int], room: int
) -> None:
    """A simulated server appends, pushes in any order, loses; pages stop anywhere; then everything heals.

    P-1.4: the order is that of seq; all times are the same.
    """
    reader = started(room=room)
    timelines, head, now = reader.timelines, 0, 0.0
    in_transit: list[int] = []
    asked: list[Fetching] = []

    def page(size: int) -> None:
        fetching = asked.pop(0)
        visible = [seq for seq in range(fetching.after + 1, head + 1) if seq not in hidden]
        shown = visible[: min(size, fetching.limit)]
        timelines.page("room", [entry(seq) for seq in shown], len(shown) == len(visible), now)

    def give(room: int) -> None:
        reader.room = room
        timelines.make_room()

    for what, number in steps:
        if what == "append":
            in_transit += [seq for seq in range(head + 1, head + number + 1) if seq not in hidden]
            head += number
        elif what == "push" and in_transit:
            reader.push(in_transit.pop(number % len(in_transit)), now)
        elif what == "lose" and in_transit:
            in_transit.pop(number % len(in_transit))
        elif what == "repeat" and number <= head and number not in hidden:
            reader.push(number, now)
        elif what == "read":
            give(number)
        elif what == "answer" and asked:
            page(number)
        elif what == "wait":
            now += number * GAP_WAIT_S
        elif what == "reconnect":
            asked.clear()
            timelines.lose_connection()
            timelines.note_head("room", head)
        asked += timelines.fetches(now)
    give(1_000_000)
    timelines.note_head("room", head)
    for _ in range(300):
        now += GAP_WAIT_S
        asked += timelines.fetches(now)
        if asked:
            page(200)
    assert reader.got == [seq for seq in range(1, head + 1) if seq not in hidden]
    assert timelines.behind == 0
