"""Other people's text cannot steer the terminal."""

import unicodedata

from hypothesis import given, strategies as st

from posthouse.cli import printable


@given(st.text(alphabet=st.characters()))
def test_nothing_that_steers_a_terminal_survives(text: str) -> None:
    for shown in (*printable.lines(text), printable.line(text)):
        assert all(unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") for char in shown)
        assert not set(shown) & set(
            "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
        )


def test_an_escape_sequence_is_shown_and_not_obeyed() -> None:
    assert printable.line("\x1b[2Jgone\x07") == "␛[2Jgone␇"


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("Grüße, 中文, 👩‍👩‍👧 and \\n", "  indented"):
        assert printable.lines(text) == [text]


def test_every_kind_of_line_end_ends_a_line() -> None:
    assert printable.lines("a\nb\r\nc\rd\u2028e") == ["a", "b", "c", "d", "e"]
    assert printable.line("a\nb") == "a b"
