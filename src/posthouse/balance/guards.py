"""Guards around any policy: slow start, outlier ejection, panic. Each is a pure function from snapshot to snapshot.

Draining targets are never let back in: they say themselves that they take no new work. Health is only our verdict
about others, so when it condemns most of them it is the verdict that is doubted.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from posthouse.balance.report import STALE_AFTER_S, LoadReport, Snapshot, Target, snapshot_of


class EjectionRule(msgspec.Struct, frozen=True):
    """When a target whose answers are errors is left out, for how long, and how many at most.

    Below `targets_min` nobody is ejected: among so few the odd one out cannot be told from chance, and the others
    could not bear its load. From there on one may always go, although at five it is a fifth: a share of 10 % alone
    would protect nobody below ten, and a target that only fails bears no load anyway.
    """

    base_s: float = 30.0
    longest_s: float = 300.0
    share_max: float = 0.1
    targets_min: int = 5
    error_margin: float = 0.2
    """An outlier's share of errors exceeds the median of all by this: errors that all have are not its fault."""
    answers_per_s_min: float = 1.0

    def ejected_max(self, targets: int) -> int:
        """How many of so many targets may be out at the same time."""
        return max(1, int(targets * self.share_max)) if targets >= self.targets_min else 0


class Ejection(msgspec.Struct, frozen=True):
    """A target is out until `until`. Its `times` are forgotten one by one, a base period of good standing each."""

    until: float
    times: int
    why: str


Ejections = Mapping[str, Ejection]
"""Everyone's ejections by target id: the state of `eject`. Empty at the start."""


class Guards(msgspec.Struct, frozen=True):
    """Settings of all guards, as they stand in the configuration."""

    stale_after_s: float = STALE_AFTER_S
    slow_start_s: float = 30.0
    panic_below: float = 0.5
    ejection: EjectionRule = EjectionRule()


def guarded(
    reports: Iterable[LoadReport], now: float, ejections: Ejections, guards: Guards
) -> tuple[Snapshot, Ejections]:
    """From reports to the snapshot that a policy is given, with every guard applied in its order."""
    snapshot = snapshot_of(reports, now, guards.stale_after_s)
    snapshot, ejections = eject(snapshot, ejections, guards.ejection)
    return panic(slow_start(snapshot, guards.slow_start_s), guards.panic_below), ejections


SLOW_START_LEAST = 0.1


def slow_start(snapshot: Snapshot, window_s: float) -> Snapshot:
    """A newcomer's caches are cold and everyone would run to it: its weight grows from 10 % to all in `window_s`.

    Among targets that are all young nobody is a newcomer: otherwise the first to start would get most.
    """
    if all(target.age_s < window_s for target in snapshot.targets):
        return snapshot

    def factor(target: Target) -> float:
        return max(SLOW_START_LEAST, target.age_s / window_s) if target.age_s < window_s else 1.0

    targets = (replace(each, factor=each.factor * factor(each)) for each in snapshot.targets)
    return replace(snapshot, targets=tuple(targets))


def panic(snapshot: Snapshot, below: float = 0.5) -> Snapshot:
    """With less than this share healthy, health is ignored: the few would fall over too, or the probes are wrong."""
    asked = [target for target in snapshot.targets if target.out != "draining"]
    healthy = sum(not target.out for target in asked)
    if not asked or healthy >= below * len(asked):
        return snapshot
    targets = (each if each.out == "draining" else replace(each, out="") for each in snapshot.targets)
    why = f"panic: {healthy} of {len(asked)} healthy, so health is ignored"
    return replace(snapshot, targets=tuple(targets), panic=why)


def eject(snapshot: Snapshot, past: Ejections, rule: EjectionRule) -> tuple[Snapshot, Ejections]:
    """Leave out the targets that fail far more than the median, the worst first, within the rule's bounds.

    Who was out at its last ejection n times is out for n times `base_s`. When targets leave and the bound sinks below
    the number of those that are out, the ones who would be back first are back now.
    """
    now = snapshot.at
    hosts = [target for target in snapshot.targets if target.out != "draining"]
    room = rule.ejected_max(len(hosts))
    serving = [host.id for host in hosts if host.id in past and past[host.id].until > now]
    serving.sort(key=lambda name: (-past[name].until, name))
    state = {name: replace(each, until=min(each.until, now)) for name, each in past.items()}
    state |= {name: past[name] for name in serving[:room]}
    rest = [host for host in hosts if host.id not in serving]
    for outlier, why in _outliers(rest, rule)[: max(0, room - len(serving))]:
        times = 1 + (_times(past[outlier.id], now, rule) if outlier.id in past else 0)
        state[outlier.id] = Ejection(now + min(times * rule.base_s, rule.longest_s), times, why)
    remembered = {name: each for name, each in state.items() if _times(each, now, rule)}
    return _without(snapshot, {name for name, each in remembered.items() if each.until > now}), remembered


def _times(ejection: Ejection, now: float, rule: EjectionRule) -> int:
    """How many of its ejections are not forgotten yet."""
    return max(0, ejection.times - int(max(0.0, now - ejection.until) / rule.base_s))


def _outliers(hosts: Sequence[Target], rule: EjectionRule) -> list[tuple[Target, str]]:
    """Those that fail far more than the median, the worst first, each with the sentence that says so."""
    answering = [
        host for host in hosts if host.fresh and not host.out and host.answers_per_s >= rule.answers_per_s_min
    ]
    answering.sort(key=lambda host: (-host.error_share, host.id))
    median = answering[len(answering) // 2].error_share if answering else 0.0
    why = "ejected: {:.0%} of its answers are errors, the median is {:.0%}"
    return [
        (host, why.format(host.error_share, median))
        for host in answering
        if host.error_share > median + rule.error_margin
    ]


def _without(snapshot: Snapshot, ejected: set[str]) -> Snapshot:
    targets = (replace(each, out="ejected") if each.id in ejected else each for each in snapshot.targets)
    return replace(snapshot, targets=tuple(targets))
