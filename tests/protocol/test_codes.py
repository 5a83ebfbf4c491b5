"""The catalogue of codes: one number for one meaning, and the range alone says what a client does."""

import tomllib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from posthouse.protocol.codes import TEXTS, Action, Code, action_of
from spec.generate import ROOT

CATALOGUE: dict[str, Any] = tomllib.loads((ROOT / "spec/codes.toml").read_text("utf-8"))
RANGES: dict[str, Any] = CATALOGUE["ranges"]
NUMBERS = [item["code"] for item in CATALOGUE["codes"].values()]


def range_of(code: int) -> list[str]:
    return [name for name, span in RANGES.items() if span["from"] <= code <= span["to"]]


def test_every_code_of_the_catalogue_is_in_the_code_with_its_text() -> None:
    assert {code.name.lower(): code.value for code in Code} == {
        name: item["code"] for name, item in CATALOGUE["codes"].items()
    }
    assert {item["code"]: item["text"] for item in CATALOGUE["codes"].values()} == TEXTS


def test_no_number_stands_for_two_codes() -> None:
    """A TOML table keeps names apart, an IntEnum would silently make one code another name of the other."""
    assert len(set(NUMBERS)) == len(NUMBERS) == len(Code)


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
def test_a_code_lies_in_one_range_and_asks_for_its_action(code: Code) -> None:
    assert range_of(code) == [action_of(code).value]


@given(st.integers(4000, 4799))
def test_a_code_that_nobody_knows_is_acted_on_by_its_range(code: int) -> None:
    """P-13.2."""
    names = range_of(code)
    assert action_of(code) == (names[0] if names else Action.RESUME)


@given(st.integers(-5, 70_000).filter(lambda code: not 4000 <= code <= 4799))
def test_a_code_outside_the_ranges_means_to_resume_unless_websocket_blames_the_client(code: int) -> None:
    """P-13.3: repeating a message that broke the WebSocket would break the next one too."""
    blamed = code in (1002, 1003, 1007, 1008, 1009, 1010)
    assert action_of(code) is (Action.STOP if blamed else Action.RESUME)


def test_ranges_do_not_overlap() -> None:
    spans = sorted((span["from"], span["to"]) for span in RANGES.values())
    assert all(low <= high for low, high in spans)
    assert all(high < low for (_, high), (low, _) in pairwise(spans))


def test_every_action_has_a_range_and_every_range_an_action() -> None:
    assert set(RANGES) == {action.value for action in Action}


def test_codes_that_end_a_connection_may_stand_in_a_close_frame() -> None:
    """RFC 6455, 7.4.2: 4000 to 4999 are for private use. 40xx to 43xx end connections (P-13.1)."""
    ending = {Action.RESUME, Action.RESET, Action.REAUTHENTICATE, Action.STOP}
    assert all(4000 <= code <= 4399 for code in Code if action_of(code) in ending)
    assert all(4500 <= code <= 4799 for code in Code if action_of(code) not in ending)


def test_every_text_is_a_sentence() -> None:
    assert all(text[0].isupper() or text.startswith("`") for text in TEXTS.values())
    assert all(text.endswith(".") for text in TEXTS.values())
