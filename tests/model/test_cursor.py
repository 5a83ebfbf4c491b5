"""Cursors only move forward, whatever comes in whatever order."""

from functools import reduce
from itertools import permutations

from hypothesis import given, strategies as st

from posthouse.model.cursor import Cursor, merge

SEQS = st.integers(0, 20)
CURSORS = st.builds(Cursor, st.just("c"), SEQS, SEQS)


@given(CURSORS, CURSORS)
def test_a_cursor_never_goes_back(old: Cursor, new: Cursor) -> None:
    merged = merge(old, new)
    assert merged.read >= max(old.read, new.read)
    assert merged.delivered >= max(old.delivered, new.delivered)


@given(CURSORS, CURSORS)
def test_what_is_read_has_been_delivered(old: Cursor, new: Cursor) -> None:
    """P-12.2."""
    assert merge(old, new).delivered >= merge(old, new).read


@given(st.lists(CURSORS, min_size=1, max_size=4))
def test_cursors_come_to_the_same_in_any_order_and_however_often(cursors: list[Cursor]) -> None:
    """So a repeated, late or reordered cursor does no harm."""
    results = {reduce(merge, order, Cursor("c")) for order in permutations(cursors)}
    assert len(results) == 1
    (result,) = results
    assert reduce(merge, cursors, result) == result


@given(CURSORS, CURSORS)
def test_a_merged_cursor_says_nothing_that_nobody_said(old: Cursor, new: Cursor) -> None:
    said = {old.read, new.read, old.delivered, new.delivered}
    assert {merge(old, new).read, merge(old, new).delivered} <= said


def test_nought_means_that_nothing_was_said() -> None:
    """P-12.1."""
    assert merge(Cursor("c", read=5), Cursor("c")) == Cursor("c", 5, 5)
