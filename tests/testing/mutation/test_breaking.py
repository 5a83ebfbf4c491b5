"""Safeguards are taken out for a while, exactly where they are named, and put back."""

from pathlib import Path

import pytest

from posthouse.messaging.lane import Lane
from posthouse.testing.mutation.breaking import Wrapped, broken
from posthouse.testing.mutation.safeguards import SAFEGUARDS, named
from spec.promises.listed import defined_tests

ROOT = Path(__file__).parents[3]
PLACE = "posthouse.messaging.lane:Lane.admits"


def test_a_safeguard_is_missing_inside_and_back_outside() -> None:
    before = Lane.admits
    with broken({PLACE: lambda *_: True}):
        assert Lane.admits is not before
    assert Lane.admits is before


def test_a_replacement_may_be_made_from_what_stood_there() -> None:
    with broken({PLACE: Wrapped(lambda admits: (admits, "wrapped"))}):
        assert Lane.__dict__["admits"][1] == "wrapped"


def test_a_name_that_is_gone_is_an_error() -> None:
    """A safeguard that was renamed must not pass for one that nobody notices."""
    with pytest.raises(AttributeError), broken({"posthouse.messaging.lane:Lane.gone": None}):
        pass


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda each: each.name)
def test_every_safeguard_names_what_is_there(safeguard) -> None:  # type: ignore[no-untyped-def]
    with broken(safeguard.patches):
        pass
    assert named(safeguard.name) is safeguard


@pytest.mark.parametrize(
    "test", [test for safeguard in SAFEGUARDS for test in safeguard.tests], ids=lambda test: str(test)
)
def test_every_test_is_named_by_itself(test: str) -> None:
    """A whole file may be red for another reason, and hides it when the one that noticed notices no more."""
    file, *_, name = test.split("::")
    assert (ROOT / file).exists()
    assert name in defined_tests(ROOT)
