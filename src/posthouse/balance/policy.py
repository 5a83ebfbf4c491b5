"""What a policy is, and the arithmetic that policies share. Pure: chance comes in as one uniform number.

A policy never fails for want of targets: it then decides for nobody and says why.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

import msgspec

from posthouse.balance.report import Snapshot, Target

S = TypeVar("S")

Picked = tuple[Target, str, S]
"""The chosen target, why, and the next state."""

RATIO_MAX = 4.0
"""What is learned favours or shuns a target at most so many times: it is a second old, and everyone follows it."""

By = Literal["connections", "in-flight", "utilisation"]
"""What counts as load: connections for long-lived sessions, in flight for requests, utilisation for mixed machines."""


ALMOST_ONE = 1 - 2**-53
"""The largest number below 1."""

UTILISATION_OF_ONE_MORE = 0.05
"""A guess, so that an idle newcomer in its slow start has some load to be multiplied."""


class Decision(msgspec.Struct, frozen=True):
    """The chosen target, or None when there is nobody to choose, and one sentence of reason."""

    target: str | None
    reason: str


class Policy(ABC, Generic[S]):
    """Chooses among the candidates of a snapshot. `S` is what it must remember from one choice to the next."""

    @abstractmethod
    def start(self) -> S:
        """The state before the first choice."""

    @abstractmethod
    def pick(self, among: Sequence[Target], state: S, uniform: float, at: float) -> Picked[S]:
        """Choose among at least one candidate. `at` is the snapshot's time."""

    @abstractmethod
    def weigh(self, among: Sequence[Target]) -> list[float]:
        """How much of the new work each candidate should get, in any unit."""

    def choose(self, snapshot: Snapshot, state: S, uniform: float) -> tuple[Decision, S]:
        """Decide for one target. `uniform` is a random number in [0, 1); the same inputs give the same decision."""
        among = snapshot.candidates
        if not among:
            return Decision(None, snapshot.why_nobody), state
        target, why, state = self.pick(among, state, uniform, snapshot.at)
        panic = f" ({snapshot.panic})" if snapshot.panic else ""
        return Decision(target.id, f"{target.id}: {why}{panic}"), state

    def rank(self, snapshot: Snapshot) -> dict[str, float]:
        """Each candidate's share of the new work, the largest first; they sum to 1. Empty when there is nobody."""
        among = snapshot.candidates
        weights = self.weigh(among) if among else []
        total = sum(weights)
        shares = {target.id: weight / total for target, weight in zip(among, weights, strict=True)}
        return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def draw(weights: Sequence[float], uniform: float) -> tuple[int, float]:
    """An index drawn by weight, and a fresh uniform number made of what the draw has not used up."""
    point = uniform * sum(weights)
    for index, weight in enumerate(weights):
        if point < weight:
            return index, point / weight
        point -= weight
    return len(weights) - 1, ALMOST_ONE  # rounding may leave the point a hair beyond the end


def draw_some(among: Sequence[Target], count: int, uniform: float) -> tuple[list[Target], float]:
    """So many different targets, drawn by weight, and a fresh uniform number."""
    left, drawn = list(among), list[Target]()
    while left and len(drawn) < count:
        index, uniform = draw([each.weight * each.factor for each in left], uniform)
        drawn.append(left.pop(index))
    return drawn, uniform


def bounded(ratio: float) -> float:
    """Within 1/`RATIO_MAX` .. `RATIO_MAX`."""
    return min(max(ratio, 1 / RATIO_MAX), RATIO_MAX)


def lightness(loads: Sequence[float]) -> list[float]:
    """How many times each load, all above zero, goes into the mean of all; bounded."""
    mean = sum(loads) / len(loads)
    return [bounded(mean / load) for load in loads]


def load_of(target: Target, by: By, weighted: bool = True) -> float:
    """The load after one more, per unit of weight; utilisation knows the target's size already."""
    if by == "utilisation":
        return target.utilisation + UTILISATION_OF_ONE_MORE
    count = target.load.connections if by == "connections" else target.load.in_flight
    return (count + 1) / (target.weight if weighted else 1.0)
