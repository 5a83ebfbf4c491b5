"""Readiness as a decision with a reason. Pure.

A node that serves reads but cannot commit is not ready: it stays up, answers reads, and says why.
"""

from typing import NamedTuple

from posthouse.storage.base import Condition

SILENCE_S_MAX = 10.0
"""A database that has not answered for so long is taken for lost, whatever it said before."""


class Readiness(NamedTuple):
    """Whether this node should get traffic, and one sentence of why."""

    ready: bool
    reason: str


STARTING = Readiness(False, "the node is starting")


def judge(condition: Condition | None, *, silent_s: float, draining: bool) -> Readiness:
    """The verdict on a node whose database was found in `condition` `silent_s` ago (None: never yet)."""
    if draining:
        return Readiness(False, "the node is draining")
    if condition is None:
        return STARTING
    if silent_s > SILENCE_S_MAX:
        return Readiness(False, f"the database has not answered for {silent_s:.0f} s")
    if not condition.readable:
        return Readiness(False, f"the database does not answer: {condition.reason}")
    if not condition.writable:
        return Readiness(False, f"the database takes no writes; reads are served: {condition.reason}")
    return Readiness(True, "the database answers and commits")
