"""Readiness: every verdict with its reason."""

import pytest

from posthouse.health.readiness import SILENCE_S_MAX, judge
from posthouse.storage.base import Condition

GOOD = Condition(True, True)


@pytest.mark.parametrize(
    ("condition", "silent_s", "draining", "ready", "reason"),
    [
        (GOOD, 0.0, False, True, "the database answers and commits"),
        (GOOD, SILENCE_S_MAX, False, True, "the database answers and commits"),
        (GOOD, SILENCE_S_MAX + 1, False, False, "the database has not answered for 11 s"),
        (GOOD, 0.0, True, False, "the node is draining"),
        (None, 0.0, False, False, "the node is starting"),
        (None, 1e9, False, False, "the node is starting"),
        (None, 0.0, True, False, "the node is draining"),
        (Condition(False, False, "gone"), 0.0, False, False, "the database does not answer: gone"),
        (
            Condition(True, False, "disk full"), 0.0, False, False,
            "the database takes no writes; reads are served: disk full",
        ),
    ],
)  # fmt: skip
def test_a_verdict_says_why(
    condition: Condition | None, silent_s: float, draining: bool, ready: bool, reason: str
) -> None:
    assert judge(condition, silent_s=silent_s, draining=draining) == (ready, reason)
