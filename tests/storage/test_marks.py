"""Marks of pages go out as text and come back, whatever a client made of them."""

import pytest
from hypothesis import given, strategies as st

from posthouse.storage.marks import TOP, Mark, mark_of, text_of


@pytest.mark.parametrize("conv", ["g", "=abc", "a:b", "ä 1"])
def test_a_mark_comes_back_as_it_was(conv: str) -> None:
    assert mark_of(text_of(Mark(1_700_000_000_000, conv))) == (1_700_000_000_000, conv)


@given(st.text())
def test_any_text_is_a_mark_or_the_top(text: str) -> None:
    """No database is asked for a number it cannot hold or a text it cannot look up."""
    mark = mark_of(text)
    assert abs(mark.active_ms) < 2**63
    assert "\0" not in mark.conv
    mark.conv.encode()


@pytest.mark.parametrize("text", ["", "x", ":", "1:", "x:g", "1:\0", "1:\ud800", "9" * 5000 + ":g"])
def test_what_is_no_mark_is_the_top(text: str) -> None:
    assert mark_of(text) == TOP
