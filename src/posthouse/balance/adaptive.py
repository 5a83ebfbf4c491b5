"""The policies that learn what each target can do: weights from work and utilisation, and latency by probes. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from posthouse.balance.classic import RoundRobin
from posthouse.balance.policy import Picked, Policy, bounded, draw_some, lightness
from posthouse.balance.report import Target

TRUSTED_AFTER_S = 10.0
UTILISATION_MIN = 0.1


class DynamicWeights(RoundRobin):
    """In turn, with the weight that a target has shown: work / (utilisation + error share · penalty).

    After gRFC A58. A newcomer and an idle target have shown nothing and count as the mean of the others: an idle one's
    ratio is all rounding, and trusting it would keep it idle. Whoever is silent, the snapshot has made average.
    """

    def __init__(self, error_penalty: float = 1.0) -> None:
        super().__init__(weighted=True)
        self._error_penalty = error_penalty

    def weigh(self, among: Sequence[Target]) -> list[float]:
        shown = [self._shown(target) for target in among]
        known = [worth for worth in shown if worth is not None]
        mean = sum(known) / len(known) if known else 0.0
        if not mean:
            return super().weigh(among)  # what is configured is the best guess
        return [
            target.factor * (1.0 if worth is None else bounded(worth / mean))
            for target, worth in zip(among, shown, strict=True)
        ]

    def _shown(self, target: Target) -> float | None:
        cost = target.utilisation + target.error_share * self._error_penalty
        if target.age_s < TRUSTED_AFTER_S or cost < UTILISATION_MIN:
            return None
        return target.load.deliveries_per_s / cost


HOT_QUANTILE = 0.84
POOL_MAX = 16
ERROR_COST = 10.0
FORGOTTEN_HALF_AFTER_S = 10.0
FORGOTTEN_BELOW = 0.01


class Suspicion(msgspec.Struct, frozen=True):
    """The share of errors that was seen at a target, and when."""

    share: float
    at: float

    def left(self, now: float) -> float:
        """What is left of it: it fades, so that the target is tried again."""
        return float(self.share * 0.5 ** (max(0.0, now - self.at) / FORGOTTEN_HALF_AFTER_S))


Suspicions = Mapping[str, Suspicion]


class Prequal(Policy[Suspicions]):
    """Of a small random pool, leave out the hot (many in flight), then take the lowest latency.

    After Google's Prequal (NSDI '24). In flight warns before latency does; latency tells fast from slow. The pool is
    smaller than the fleet, so that not everyone sees the same best one. An error counts as `ERROR_COST` times the mean
    latency, or whoever fails at once would look fastest; and it is remembered, or whoever is shunned would look sound.
    """

    def start(self) -> Suspicions:
        return {}

    def weigh(self, among: Sequence[Target]) -> list[float]:
        light = lightness(_latencies(among, [target.error_share for target in among]))
        return [share * target.weight * target.factor for share, target in zip(light, among, strict=True)]

    def pick(
        self, among: Sequence[Target], state: Suspicions, uniform: float, at: float
    ) -> Picked[Suspicions]:
        suspicions = {name: each for name, each in state.items() if each.left(at) > FORGOTTEN_BELOW}
        suspicions |= {target.id: _suspicion(target, state, at) for target in among}
        latencies = _latencies(among, [suspicions[target.id].left(at) for target in among])
        latency = {target.id: value for target, value in zip(among, latencies, strict=True)}
        hottest = _quantile([_in_flight(target) for target in among], HOT_QUANTILE)
        pool, _ = draw_some(among, min(POOL_MAX, max(2, len(among) - 1)), uniform)
        cold = [target for target in pool if _in_flight(target) <= hottest]
        if not cold:
            chosen = min(pool, key=lambda target: (_in_flight(target), latency[target.id]))
            why = f"{chosen.load.in_flight} in flight, the least of {len(pool)} drawn, which are all hot"
            return chosen, why, suspicions
        chosen = min(cold, key=lambda target: (latency[target.id], _in_flight(target)))
        why = f"{latency[chosen.id]:.3g} ms, the lowest of {len(pool)} drawn, {len(pool) - len(cold)} of them hot"
        return chosen, why, suspicions


def _suspicion(target: Target, state: Suspicions, now: float) -> Suspicion:
    """The worse of what is remembered and what is reported."""
    known = state.get(target.id)
    if known and known.left(now) > target.error_share:
        return known
    return Suspicion(target.error_share, now)


def _latencies(among: Sequence[Target], error_shares: Sequence[float]) -> list[float]:
    """Milliseconds, with errors counted as slow answers; the mean where none has been measured."""
    measured = [target.load.latency_ms for target in among if target.load.latency_ms]
    mean = sum(measured) / len(measured) if measured else 1.0
    return [
        (target.load.latency_ms or mean) + share * ERROR_COST * mean
        for target, share in zip(among, error_shares, strict=True)
    ]


def _in_flight(target: Target) -> float:
    return target.load.in_flight / target.weight


def _quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all lie, interpolated."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
