"""The policies that every balancer has: by weight, in turn, by least load, by two choices. Pure."""

from collections.abc import Mapping, Sequence

from posthouse.balance.policy import By, Picked, Policy, draw, draw_some, lightness, load_of
from posthouse.balance.report import Target

Turns = Mapping[str, float]
"""How overdue each target is: the state of everything that goes in turn."""


class StaticWeights(Policy[None]):
    """By chance, in proportion to the weights. Remembers nothing, so any number of balancers may use it at once."""

    def start(self) -> None:
        return None

    def weigh(self, among: Sequence[Target]) -> list[float]:
        return [target.weight * target.factor for target in among]

    def pick(self, among: Sequence[Target], state: None, uniform: float, at: float) -> Picked[None]:
        weights = self.weigh(among)
        index, _ = draw(weights, uniform)
        return among[index], f"drawn by weight, {weights[index]:.3g} of {sum(weights):.3g}", None


class RoundRobin(Policy[Turns]):
    """In turn; with weights the smooth way of nginx, which never gives one target several turns in a row needlessly.

    Each choice credits every target with its weight; the most overdue is chosen and pays the sum. The first choice
    starts somewhere in the cycle, so that a hundred balancers that start together do not all start with the same.
    """

    def __init__(self, weighted: bool) -> None:
        self._weighted = weighted

    def start(self) -> Turns:
        return {}

    def weigh(self, among: Sequence[Target]) -> list[float]:
        return [(target.weight if self._weighted else 1.0) * target.factor for target in among]

    def pick(self, among: Sequence[Target], state: Turns, uniform: float, at: float) -> Picked[Turns]:
        weights = self.weigh(among)
        overdue = [state.get(target.id, 0.0) for target in among]
        for _ in range(0 if state else int(uniform * len(among))):
            _turn(overdue, weights)
        index = _turn(overdue, weights)
        turns = {target.id: value for target, value in zip(among, overdue, strict=True)}
        return among[index], f"its turn, with weight {weights[index]:.3g} of {sum(weights):.3g}", turns


def _turn(overdue: list[float], weights: Sequence[float]) -> int:
    """Play one round of smooth weighted round robin in place; return whose turn it was."""
    overdue[:] = [value + weight for value, weight in zip(overdue, weights, strict=True)]
    index = max(range(len(overdue)), key=overdue.__getitem__)
    overdue[index] -= sum(weights)
    return index


class LeastLoad(Policy[None]):
    """The least loaded. For whoever sees its own choices at once; with old reports everyone runs to the same one."""

    def __init__(self, by: By, weighted: bool) -> None:
        self._by = by
        self._weighted = weighted

    def start(self) -> None:
        return None

    def weigh(self, among: Sequence[Target]) -> list[float]:
        room = lightness([load_of(target, self._by, self._weighted) for target in among])
        sizes = [(target.weight if self._weighted else 1.0) * target.factor for target in among]
        return [share * size for share, size in zip(room, sizes, strict=True)]

    def pick(self, among: Sequence[Target], state: None, uniform: float, at: float) -> Picked[None]:
        loads = [load_of(target, self._by, self._weighted) / target.factor for target in among]
        least = min(loads)
        equals = [target for target, load in zip(among, loads, strict=True) if load == least]
        chosen = equals[int(uniform * len(equals))]
        return chosen, f"{_said(chosen, self._by)}, the least of {len(among)} for its weight", None


class TwoChoices(LeastLoad):
    """The less loaded of two drawn by weight. Nearly as even as the least of all, and reports may be old."""

    def __init__(self, by: By) -> None:
        super().__init__(by, weighted=True)

    def pick(self, among: Sequence[Target], state: None, uniform: float, at: float) -> Picked[None]:
        drawn, uniform = draw_some(among, 2, uniform)
        chosen, _, _ = super().pick(drawn, state, uniform, at)
        others = ", ".join(f"{each.id} with {_said(each, self._by)}" for each in drawn if each is not chosen)
        return chosen, f"{_said(chosen, self._by)}, against {others or 'nobody'}", None


def _said(target: Target, by: By) -> str:
    match by:
        case "connections":
            return f"{target.load.connections} connections"
        case "in-flight":
            return f"{target.load.in_flight} in flight"
        case "utilisation":
            return f"{target.utilisation:.0%} utilised"
