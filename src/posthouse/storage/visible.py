"""Which entries of a log a reader may see. Pure; shared by every engine."""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.model.conversation import History, Interval


class Span(NamedTuple):
    """A stretch of seq, both ends included."""

    first: int
    last: int


def spans_of(intervals: Sequence[Interval], history: History, head: int, first_seq: int) -> list[Span]:
    """What someone with these intervals of membership sees, rising and apart. `first_seq` is the oldest entry kept."""
    if not intervals:
        return []
    ends = [(each.from_seq, head if each.until_seq is None else each.until_seq) for each in intervals]
    if history is History.ALL:
        ends = [(1, max(last for _, last in ends))]
    spans = (Span(max(first, first_seq), min(last, head)) for first, last in sorted(ends))
    return _merged([span for span in spans if span.first <= span.last])


def within(spans: Sequence[Span], after: int | None, before: int | None) -> list[Span]:
    """The parts of the spans beyond `after` and below `before`, in reading order: falling when `after` is None."""
    low = 1 if after is None else after + 1
    cut = [
        Span(max(span.first, low), span.last if before is None else min(span.last, before - 1))
        for span in spans
    ]
    left = [span for span in cut if span.first <= span.last]
    return left if after is not None else left[::-1]


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and span.first <= merged[-1].last + 1:
            merged[-1] = Span(merged[-1].first, max(merged[-1].last, span.last))
        else:
            merged.append(span)
    return merged
