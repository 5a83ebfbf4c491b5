"""A worker's words to its supervisor: put together from pieces, and passed over when they are none."""

import pytest

from posthouse.app.pulse import BEAT, READY, port_of, words_of


def test_words_are_whole_at_their_end_and_not_before() -> None:
    said = READY % 8080 + BEAT
    assert words_of(b"", said[:5]) == ([], b"ready")
    assert words_of(b"ready", said[5:-1]) == ([b"ready 8080"], b"beat")


def test_a_word_without_end_takes_no_room() -> None:
    rest = b""
    for _ in range(1_000):
        _, rest = words_of(rest, b"x" * 4_096)
    assert len(rest) < 100


def test_only_ready_names_a_port() -> None:
    assert port_of(b"ready 8080") == 8080


@pytest.mark.parametrize(
    "word",
    [b"", b"beat", b"ready", b"ready x", b"ready -1", b"ready 1 2", b"ready 999999", b"already 80", b"\xff"],
)
def test_what_names_no_port_is_passed_over(word: bytes) -> None:
    assert port_of(word) is None
