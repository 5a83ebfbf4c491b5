"""Spans of time on the command line."""

import click
import pytest

from posthouse.cli.spans import Span


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800)]
)
def test_a_span_in_seconds(text: str, seconds: int) -> None:
    assert Span().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "5w", "m", "1.5h", " 5"])
def test_what_is_no_span_is_refused_with_examples(text: str) -> None:
    with pytest.raises(click.BadParameter, match="15m"):
        Span().convert(text, None, None)
