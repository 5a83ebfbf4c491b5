"""Which entries of a log a reader may see. Pure; shared by every engine."""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.model.conversation import History, Interval, Kind
from posthouse.model.entry import Entry
from posthouse.model.ids import account_user
from posthouse.storage.base import Page, Refused
from posthouse.storage.changes import NOT_FOUND, NOT_MEMBER


class Span(NamedTuple):
    """A stretch of seq, both ends included."""

    first: int
    last: int


class LogFacts(NamedTuple):
    """What of a log decides who sees what. `first_seq` is the oldest entry kept."""

    kind: Kind
    history: History
    head: int
    first_seq: int


class View(NamedTuple):
    """What one reader may see of a log: spans, rising and apart, and the head as they may know it."""

    spans: list[Span]
    head: int
    first_seq: int


def view_of(
    conv: str, log: LogFacts | None, user: str | None, intervals: Sequence[Interval]
) -> View | Refused:
    """The view of a user with these intervals of membership; of the back end, who sees all, when `user` is None."""
    owner = account_user(conv)
    if user is None or (owner is not None and owner == user):
        if log is None:
            return NOT_FOUND if user is None else View([], 0, 1)
        return View([Span(log.first_seq, log.head)], log.head, log.first_seq)
    if log is None or not intervals:
        return NOT_MEMBER
    spans = spans_of(intervals, log.history, log.head, log.first_seq)
    return View(spans, max(each.until_seq or log.head for each in intervals), log.first_seq)


def page_of(view: View, asked: Sequence[Span], entries: Sequence[Entry], rising: bool) -> Page:
    """The page that answers a read of the spans `asked`, which are in reading order."""
    end = (asked[-1].last if rising else asked[-1].first) if asked else None
    complete = end is None or (bool(entries) and entries[-1].seq == end)
    return Page(tuple(entries), view.head, view.first_seq, complete)


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
