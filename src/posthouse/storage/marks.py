"""The mark of a page in a user's conversation list: opaque to clients, who may send back anything. Pure."""

from typing import NamedTuple

from posthouse.model.ids import INTEGER_MAX, check_id


class Mark(NamedTuple):
    """The last item of a page. The list falls by (active_ms, conv), and the next page begins below its mark."""

    active_ms: int
    conv: str


TOP = Mark(INTEGER_MAX, "")
"""Above every item: where the first page begins."""


def text_of(mark: Mark) -> str:
    """The mark as a client sees it."""
    return f"{mark.active_ms}:{mark.conv}"


def mark_of(text: str) -> Mark:
    """The mark that a client sent; the top of the list when it is none."""
    active_ms, _, conv = text.partition(":")
    try:
        return Mark(max(0, min(int(active_ms), INTEGER_MAX)), check_id(conv, "conversation"))
    except ValueError:
        return TOP
