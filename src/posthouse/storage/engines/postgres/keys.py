"""Ids that PostgreSQL cannot hold, and which therefore name nothing. Asked about, they are answered as unknown."""

from collections.abc import Iterable


def possible(text: str) -> bool:
    """Whether text can be in the database at all: without U+0000 and lone surrogates."""
    if text.isascii():
        return "\0" not in text
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def possible_only(texts: Iterable[str]) -> list[str]:
    """Those that can be in the database."""
    return [text for text in texts if possible(text)]
