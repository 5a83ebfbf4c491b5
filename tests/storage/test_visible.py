"""Who sees which entries of a log."""

from hypothesis import given, strategies as st

from posthouse.model.conversation import History, Interval
from posthouse.storage.visible import Span, spans_of, within

HEAD = 20


@st.composite
def memberships(draw: st.DrawFn) -> list[Interval]:
    """Intervals that follow each other, the last one open or not."""
    cuts = sorted(draw(st.sets(st.integers(1, HEAD), max_size=6)))
    if len(cuts) % 2:
        return [*_pairs(cuts[:-1]), Interval(cuts[-1])]
    return _pairs(cuts)


def _pairs(cuts: list[int]) -> list[Interval]:
    return [Interval(first, last) for first, last in zip(cuts[::2], cuts[1::2], strict=True)]


def seqs(spans: list[Span]) -> list[int]:
    return [seq for span in spans for seq in range(span.first, span.last + 1)]


@given(memberships(), st.integers(1, HEAD))
def test_a_member_sees_their_own_intervals_of_what_is_kept(intervals: list[Interval], first_seq: int) -> None:
    """P-7.13, P-7.14: each entry once, rising, none from outside, none from before the oldest entry kept."""
    expected = [
        seq
        for seq in range(first_seq, HEAD + 1)
        if any(each.from_seq <= seq <= (each.until_seq or HEAD) for each in intervals)
    ]
    assert seqs(spans_of(intervals, History.JOINED, HEAD, first_seq)) == expected


@given(memberships(), st.integers(1, HEAD))
def test_open_history_shows_all_until_the_member_left(intervals: list[Interval], first_seq: int) -> None:
    last = max((each.until_seq or HEAD for each in intervals), default=0)
    assert seqs(spans_of(intervals, History.ALL, HEAD, first_seq)) == list(range(first_seq, last + 1))


@given(memberships(), st.integers(0, HEAD + 2), st.one_of(st.none(), st.integers(0, HEAD + 2)))
def test_a_rising_read_takes_what_lies_after_and_below(
    intervals: list[Interval], after: int, before: int | None
) -> None:
    seen = spans_of(intervals, History.JOINED, HEAD, 1)
    expected = [seq for seq in seqs(seen) if seq > after and (before is None or seq < before)]
    assert seqs(within(seen, after, before)) == expected


@given(memberships(), st.one_of(st.none(), st.integers(0, HEAD + 2)))
def test_a_falling_read_takes_what_lies_below_in_falling_order(
    intervals: list[Interval], before: int | None
) -> None:
    seen = spans_of(intervals, History.JOINED, HEAD, 1)
    asked = within(seen, None, before)
    falling = [seq for span in asked for seq in range(span.last, span.first - 1, -1)]
    assert falling == [seq for seq in reversed(seqs(seen)) if before is None or seq < before]
