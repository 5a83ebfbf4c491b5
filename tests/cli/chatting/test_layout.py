"""Lines as rows of a terminal."""

from hypothesis import given, strategies as st
from wcwidth import wcswidth

from posthouse.cli import printable
from posthouse.cli.chatting.layout import WIDTH_MIN, name_style_of, plain, rows_of, waiting_rows
from posthouse.cli.chatting.transcript import Line, Mark
from posthouse.cli.times import clock_time

AT_MS = 1_763_899_200_000
TIME = clock_time(AT_MS)


def line(*texts: str, who: str = "ann", own: bool = True) -> Line:
    return Line(texts, who=who, at_ms=AT_MS, seq=1, own=own)


def test_a_short_line_is_one_row_with_its_mark() -> None:
    assert plain(rows_of(line("hello"), Mark.DELIVERED, 80)) == f"{TIME} ann: hello  ✓✓"


def test_further_rows_are_indented_and_the_mark_follows_the_last() -> None:
    rows = plain(rows_of(line("one two three four five six", "  code"), Mark.SENT, WIDTH_MIN - 0))
    assert rows == f"{TIME} ann: one two three four five six\n        code  ✓"


def test_a_mark_without_room_gets_a_row() -> None:
    text = "x" * (WIDTH_MIN - len(f"{TIME} ann: "))
    assert plain(rows_of(line(text), Mark.READ, WIDTH_MIN)).splitlines() == [
        f"{TIME} ann: {text}",
        "      ✓✓ read",
    ]


def test_a_notice_has_no_name() -> None:
    assert plain(rows_of(Line(("bob joined",)), Mark.NONE, 80)) == "· bob joined"


def test_a_very_long_name_is_cut() -> None:
    assert plain(rows_of(line("hello", who="n" * 100), Mark.NONE, 80)) == f"{TIME} {'n' * 23}…: hello"


def test_an_empty_line_is_a_row() -> None:
    assert plain(rows_of(line("", "a"), Mark.NONE, 80)).splitlines() == [f"{TIME} ann: ", "      a"]


texts = st.lists(st.text(max_size=200).map(printable.line), min_size=1, max_size=4)


@given(
    texts, st.text(min_size=1, max_size=40).map(printable.line), st.sampled_from(Mark), st.integers(1, 120)
)
def test_no_row_is_wider_than_the_terminal(parts: list[str], who: str, mark: Mark, width: int) -> None:
    for row in rows_of(line(*parts, who=who), mark, width):
        assert wcswidth(plain([row])) <= max(width, WIDTH_MIN)


def test_of_many_waiting_lines_the_newest_are_shown() -> None:
    rows = plain(waiting_rows([line(f"m{n}") for n in range(10)], 80)).splitlines()
    assert rows[0] == "… 4 more wait to be sent"
    assert rows[1:] == [f"{TIME} ann: m{n}  …" for n in range(4, 10)]


def test_a_user_has_the_same_style_everywhere() -> None:
    assert name_style_of("bob") == name_style_of("bob")
    assert len({name_style_of(f"u{n}") for n in range(100)}) > 3
