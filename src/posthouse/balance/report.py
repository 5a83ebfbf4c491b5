"""What targets say of themselves, and the snapshot that every decision is made on. Pure; all values are frozen.

A target is whatever can be chosen: a gateway, a replica, an AI provider. All times are seconds of the reader's own
monotonic clock: whoever receives a report stamps it, because the clocks of two machines cannot be compared.
"""

from collections.abc import Iterable, Sequence
from math import inf
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

STALE_AFTER_S = 5.0
"""Reports come every second; whoever has missed five is no longer known."""

WEIGHT_MIN, WEIGHT_MAX = 0.01, 100.0
"""Bounds of a static weight above zero: a slip of the pen must not take all the load, or hide a target for good."""

LOOP_LAG_FULL_MS = 100.0
"""An event loop that is this late is as good as saturated, whatever the processor says."""

MEMORY_FREE_OF_CARE = 0.8
"""Memory is held, not used up by work: it says nothing about load until it becomes scarce."""

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class LoadReport(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """One target's state at one moment. Defaults are those of a target of which only the name is known.

    `cpu`, `memory` and `network` are shares of the target's own limits. `deliveries_per_s` is work that went well:
    deliveries, reads, answers; `errors_per_s` is work that failed. `latency_ms` is the median of recent answers
    (0: none measured). `since` is when the target joined. `weight` is static; 0 means no new work, as in HAProxy.
    `healthy` is what the probes say, `draining` what the target itself says.
    """

    target: str
    at: float = -inf
    connections: Count = 0
    deliveries_per_s: Amount = 0.0
    cpu: Amount = 0.0
    memory: Amount = 0.0
    network: Amount = 0.0
    loop_lag_ms: Amount = 0.0
    in_flight: Count = 0
    latency_ms: Amount = 0.0
    errors_per_s: Amount = 0.0
    draining: bool = False
    healthy: bool = True
    since: float = -inf
    weight: Amount = 1.0


Out = Literal["", "draining", "unhealthy", "ejected"]
"""Why a target gets no new work; empty when it may be chosen."""


class Target(msgspec.Struct, frozen=True):
    """A target as policies see it: bounded, and average in what is not known of it (`fresh` is false then).

    `factor` is what guards leave of its weight: 1 for a target in good standing, less during its slow start.
    `addressed` is false when nobody can be sent there, though work finds its way: it has not said where it is reached.
    """

    id: str
    load: LoadReport
    weight: float
    age_s: float
    fresh: bool
    out: Out = ""
    factor: float = 1.0
    addressed: bool = True

    @property
    def utilisation(self) -> float:
        """How full the scarcest resource is; 1.0 is saturated."""
        memory = (self.load.memory - MEMORY_FREE_OF_CARE) / (1 - MEMORY_FREE_OF_CARE)
        return max(self.load.cpu, self.load.network, self.load.loop_lag_ms / LOOP_LAG_FULL_MS, memory)

    @property
    def answers_per_s(self) -> float:
        """Work done, well or badly."""
        return self.load.deliveries_per_s + self.load.errors_per_s

    @property
    def error_share(self) -> float:
        """Errors among all answers, 0..1."""
        return self.load.errors_per_s / self.answers_per_s if self.answers_per_s else 0.0


class Snapshot(msgspec.Struct, frozen=True):
    """All targets at one moment, sorted by id, so that the order in which reports came decides nothing.

    `panic` is empty, or the sentence that says why health is being ignored.
    """

    at: float
    targets: tuple[Target, ...]
    panic: str = ""

    @property
    def candidates(self) -> tuple[Target, ...]:
        """The targets that may be chosen."""
        return tuple(target for target in self.targets if not target.out)

    @property
    def why_nobody(self) -> str:
        """One sentence for the case that there are no candidates."""
        if not self.targets:
            return "nobody: there are no targets"
        outs = [target.out for target in self.targets]
        counts = ", ".join(f"{outs.count(out)} {out}" for out in sorted(set(outs)) if out)
        return f"nobody: none of {len(outs)} targets takes new work ({counts})"


def snapshot_of(reports: Iterable[LoadReport], now: float, stale_after_s: float = STALE_AFTER_S) -> Snapshot:
    """The newest report of each target, as targets. One older than `stale_after_s` still says who and what the
    target is (weight, since, draining, healthy); its load counts as the mean of the others, per unit of weight.
    """
    newest = {report.target: report for report in sorted(reports)}  # by target, then by time
    known = [report for report in newest.values() if now - report.at <= stale_after_s]
    average = _average([report for report in known if _out(report) == ""])
    fresh = {report.target for report in known}
    targets = (_target(newest[name], name in fresh, average, now) for name in newest)
    return Snapshot(now, tuple(targets))


def assign(snapshot: Snapshot, target_id: str, count: int = 1) -> Snapshot:
    """So many more connections and requests on the target: what was decided since the last report counts too."""
    targets = (_with_more(each, count) if each.id == target_id else each for each in snapshot.targets)
    return replace(snapshot, targets=tuple(targets))


def _with_more(target: Target, count: int) -> Target:
    load = target.load
    more = replace(load, connections=load.connections + count, in_flight=load.in_flight + count)
    return replace(target, load=more)


def _target(report: LoadReport, fresh: bool, average: dict[str, float], now: float) -> Target:
    weight = _weight(report)
    load = report if fresh else replace(report, **_scaled(average, weight))
    return Target(report.target, load, weight, max(0.0, now - report.since), fresh, _out(report))


def _weight(report: LoadReport) -> float:
    return min(max(report.weight, WEIGHT_MIN), WEIGHT_MAX)


def _out(report: LoadReport) -> Out:
    if report.draining or report.weight <= 0:
        return "draining"
    return "" if report.healthy else "unhealthy"


_COUNTS = ("connections", "in_flight")
_RATES = ("deliveries_per_s", "errors_per_s")
_LEVELS = ("cpu", "memory", "network", "loop_lag_ms")


def _average(reports: Sequence[LoadReport]) -> dict[str, float]:
    """The load of an average target of weight 1; all zero if nothing is known, so that static weights decide."""
    weight = sum(_weight(report) for report in reports) or 1.0
    latencies = [report.latency_ms for report in reports if report.latency_ms]
    return {
        **{name: sum(getattr(each, name) for each in reports) / weight for name in _COUNTS + _RATES},
        **{name: sum(getattr(each, name) for each in reports) / (len(reports) or 1) for name in _LEVELS},
        "latency_ms": sum(latencies) / (len(latencies) or 1),
    }


def _scaled(average: dict[str, float], weight: float) -> dict[str, float]:
    counts = {name: round(average[name] * weight) for name in _COUNTS}
    return average | counts | {name: average[name] * weight for name in _RATES}
