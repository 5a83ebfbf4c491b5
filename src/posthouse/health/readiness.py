"""Readiness as a decision with a reason. Pure.

A node that serves reads but cannot commit is not ready: it stays up, answers reads, and says why.
"""

from typing import NamedTuple

from posthouse.storage.base import Condition


class Readiness(NamedTuple):
    """Whether this node should get traffic, and one sentence of why."""

    ready: bool
    reason: str


STARTING = Readiness(False, "the node is starting")


def judge(condition: Condition | None, *, draining: bool) -> Readiness:
    """The verdict on a node whose database was last found in `condition` (None: not asked yet)."""
    if draining:
        return Readiness(False, "the node is draining")
    if condition is None:
        return STARTING
    if not condition.readable:
        return Readiness(False, f"the database does not answer: {condition.reason}")
    if not condition.writable:
        return Readiness(False, f"the database takes no writes; reads are served: {condition.reason}")
    return Readiness(True, "the database answers and commits")
