"""Says where new sessions go: guards and a policy over the newest reports, and over what was handed out since. Pure.

Reports are a second old and a session needs a moment to land, so each answer counts as one more on its target until a
report can have seen it. Whoever uses one director is told to spread; nodes that decide by themselves have one each.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from posthouse.balance.guards import Ejections, Guards, guarded
from posthouse.balance.policy import Decision, Policy
from posthouse.balance.report import LoadReport, Snapshot, Target, assign

LANDING_S = 1.5
"""A session that was sent somewhere is in the reports of that place after so long."""
HANDED_MAX = 20_000
"""Answers that are remembered; the oldest are forgotten first, and their sessions have landed by then."""


class Ranked(msgspec.Struct, frozen=True):
    """One target of a list: its share of the new sessions (all shares sum to 1), and one sentence of reason."""

    target: str
    share: float
    reason: str


class Director:
    """`see` what is reported, then ask any number of times. `snapshot` is what the next answer is decided on."""

    def __init__(self, policy: Policy[Any], guards: Guards) -> None:
        self._policy = policy
        self._state: Any = policy.start()
        self._guards = guards
        self._ejections: Ejections = {}
        self._handed: deque[tuple[float, str]] = deque(maxlen=HANDED_MAX)
        self.snapshot = Snapshot(0.0, ())

    def see(self, reports: Iterable[LoadReport], now: float) -> None:
        """Take over what is reported; `now` and the reports' times are of the same clock."""
        reports = tuple(reports)
        self.snapshot, self._ejections = guarded(reports, now, self._ejections, self._guards)
        heard = {report.target: report.at for report in reports}
        under_way = [(at, name) for at, name in self._handed if heard.get(name, now) < at + LANDING_S]
        under_way = [(at, name) for at, name in under_way if now - at <= self._guards.stale_after_s]
        self._handed = deque(under_way, HANDED_MAX)
        for name, count in Counter(name for _, name in under_way).items():
            self.snapshot = assign(self.snapshot, name, count)

    def choose(self, uniform: float, now: float, without: Collection[str] = ()) -> Decision:
        """One target for one session, which counts from now on; nobody when no candidate is left."""
        decision, self._state = self._policy.choose(self._left(without), self._state, uniform)
        if decision.target is not None:
            self.hand(decision.target, now)
        return decision

    def rank(self, uniform: float, now: float) -> list[Ranked]:
        """Every candidate; the first is the one chosen now. When there is none, whoever is known: nobody is worse."""
        chosen = self.choose(uniform, now)
        if chosen.target is None:
            return self._whoever(chosen.reason)
        shares = self._policy.rank(self.snapshot)
        first = Ranked(chosen.target, shares[chosen.target], chosen.reason)
        return [
            first,
            *(
                Ranked(name, share, self._why(name, share))
                for name, share in shares.items()
                if name != first.target
            ),
        ]

    def shares(self) -> dict[str, float]:
        """What each candidate gets of new sessions now, the largest first."""
        return self._policy.rank(self.snapshot)

    def hand(self, target: str, now: float) -> None:
        """A session was sent to `target`, whoever decided it."""
        self._handed.append((now, target))
        self.snapshot = assign(self.snapshot, target)

    def _left(self, without: Collection[str]) -> Snapshot:
        if not without:
            return self.snapshot
        left = tuple(each for each in self.snapshot.targets if each.id not in without)
        return replace(self.snapshot, targets=left)

    def _whoever(self, why: str) -> list[Ranked]:
        known = self.snapshot.targets
        return [Ranked(each.id, 1 / len(known), f"{each.id}: known, and {why}") for each in known]

    def _why(self, name: str, share: float) -> str:
        target = next(each for each in self.snapshot.targets if each.id == name)
        return f"{name}: {share:.0%} of new sessions, with {said(target)}"


def said(target: Target) -> str:
    """A target's load in words."""
    known = "" if target.fresh else " (silent: the average is taken)"
    return f"{target.load.connections} connections and {target.utilisation:.0%} utilised{known}"
