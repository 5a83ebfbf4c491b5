"""The policies that learn what each target can do: weights from work and utilisation, and latency by probes. Pure."""

from collections.abc import Sequence

from posthouse.balance.classic import RoundRobin
from posthouse.balance.policy import Policy, bounded, draw_some, lightness
from posthouse.balance.report import Target

TRUSTED_AFTER_S = 10.0
UTILISATION_MIN = 0.1


class DynamicWeights(RoundRobin):
    """In turn, with the weight that a target has shown: work / (utilisation + error share · penalty).

    After gRFC A58. A newcomer, an idle or a silent target has shown nothing and counts as the mean of the others:
    an idle one's ratio is all rounding, and trusting it would keep it idle.
    """

    def __init__(self, error_penalty: float = 1.0) -> None:
        super().__init__(weighted=True)
        self._error_penalty = error_penalty

    def weigh(self, among: Sequence[Target]) -> list[float]:
        shown = [self._shown(target) for target in among]
        known = [worth for worth in shown if worth is not None]
        mean = sum(known) / len(known) if known else 0.0
        if not mean:
            return super().weigh(
                among
            )  # nobody has shown anything: the configured weights are the best guess
        return [
            target.factor * (1.0 if worth is None else bounded(worth / mean))
            for target, worth in zip(among, shown, strict=True)
        ]

    def _shown(self, target: Target) -> float | None:
        cost = target.utilisation + target.error_share * self._error_penalty
        if not target.fresh or target.age_s < TRUSTED_AFTER_S or cost < UTILISATION_MIN:
            return None
        return target.load.deliveries_per_s / cost


HOT_QUANTILE = 0.84
POOL_MAX = 16
ERROR_COST = 10.0


class Prequal(Policy[None]):
    """Of a small random pool, leave out the hot (many in flight), then take the lowest latency.

    After Google's Prequal (NSDI '24). In flight warns before latency does; latency tells fast from slow.
    An error counts as `ERROR_COST` times the mean latency, or whoever fails at once would look fastest. The pool is
    smaller than the fleet, so that not everyone sees the same best one.
    """

    def start(self) -> None:
        return None

    def weigh(self, among: Sequence[Target]) -> list[float]:
        light = zip(lightness(latencies_of(among)), among, strict=True)
        return [share * target.weight * target.factor for share, target in light]

    def pick(self, among: Sequence[Target], state: None, uniform: float) -> tuple[Target, str, None]:
        limit = _quantile([_in_flight(target) for target in among], HOT_QUANTILE)
        latency = dict(zip((target.id for target in among), latencies_of(among), strict=True))
        pool, _ = draw_some(among, min(POOL_MAX, max(2, len(among) - 1)), uniform)
        cold = [target for target in pool if _in_flight(target) <= limit]
        if not cold:
            chosen = min(pool, key=lambda target: (_in_flight(target), latency[target.id]))
            return chosen, f"{chosen.load.in_flight} in flight, the least of {len(pool)} hot ones", None
        chosen = min(cold, key=lambda target: (latency[target.id], _in_flight(target)))
        hot = len(pool) - len(cold)
        why = f"{latency[chosen.id]:.3g} ms with errors, the lowest of {len(pool)} drawn, {hot} of them hot"
        return chosen, why, None


def latencies_of(among: Sequence[Target]) -> list[float]:
    """Milliseconds, with errors counted as slow answers; the mean where none has been measured."""
    measured = [target.load.latency_ms for target in among if target.load.latency_ms]
    mean = sum(measured) / len(measured) if measured else 1.0
    return [(target.load.latency_ms or mean) + target.error_share * ERROR_COST * mean for target in among]


def _in_flight(target: Target) -> float:
    return target.load.in_flight / target.weight


def _quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie, interpolated."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
