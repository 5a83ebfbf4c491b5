"""The ratchet lets a known exception be, and complains as soon as it grows, shrinks or is mended."""

import pytest

from tests.tidy.ratchet import Exemption, complaints, read
from tests.tidy.rules import Finding

PLACE = "src/posthouse/a.py:f"
LISTED = [Exemption("function-length", PLACE, 80, "a state table")]


def found(size: int, place: str = PLACE) -> Finding:
    return Finding("function-length", place, 12, size, f"`f` has {size} lines")


def test_an_exception_of_the_listed_size_is_let_be() -> None:
    assert list(complaints([found(80)], LISTED)) == []


def test_what_is_not_listed_is_a_complaint_that_says_where_and_why() -> None:
    assert list(complaints([found(71)], [])) == ["src/posthouse/a.py:12: [function-length] `f` has 71 lines"]


def test_an_exception_may_not_grow() -> None:
    first, detail = complaints([found(81)], LISTED)
    assert "grew from 80 to 81" in first
    assert "src/posthouse/a.py:12" in detail


def test_an_exception_that_shrank_must_be_listed_at_its_new_size() -> None:
    (complaint,) = complaints([found(75)], LISTED)
    assert "write `size = 75`" in complaint


def test_an_exception_that_is_mended_must_leave_the_list() -> None:
    (complaint,) = complaints([], LISTED)
    assert "delete its entry" in complaint


def test_breaches_of_one_kind_in_one_place_are_counted_together() -> None:
    breach = Finding("print", "src/posthouse/a.py", 3, 1, "`print`: return the value")
    listed = [Exemption("print", "src/posthouse/a.py", 1, "shown once")]
    assert list(complaints([breach], listed)) == []
    assert "grew from 1 to 2" in next(iter(complaints([breach, breach], listed)))


def test_an_entry_needs_its_reason() -> None:
    with pytest.raises(TypeError, match="why"):
        read('[[exemption]]\nrule = "print"\nplace = "src/posthouse/a.py"\nsize = 1\n')


def test_an_empty_list_is_a_list() -> None:
    assert read("# nothing\n") == []
