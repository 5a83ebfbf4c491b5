"""Tells dead from slow, and doubts itself first. Pure: every method is given the time.

Silence is judged by phi accrual (how unlikely it is, given the rhythm before), and measured in time that this node was
awake for: whoever was frozen has heard nobody meanwhile. A node in trouble grants everyone more patience (Lifeguard).
"""

from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from math import erfc, inf, log10, sqrt
from statistics import fmean, median
from typing import NamedTuple

PHI_SUSPECT, PHI_DEAD = 3.0, 8.0
"""Once in a thousand such silences, and once in a hundred million, the subject is alive after all."""
RHYTHM_SPREAD_MIN = 0.5
"""At least this share of the expected interval is taken for the spread of a rhythm, however regular it seems."""
FAILURES_DEAD = 2
"""So many refusals one after the other; the first makes a suspect."""
REMEMBERED = 16
ANSWERS_JUDGED = 5
SUBJECTS_MANY = 3
"""From so many on, the silence of most says more about the listener."""

TICK_S = 1.0
DISTRUST_MAX = 7
LAG_DISTRUSTED_MS = 500.0
NAP_S = 2.0
"""A tick that comes so late: this node did not run in the meantime."""


class State(StrEnum):
    """What is thought of a subject."""

    LIVE = "live"
    SUSPECT = "suspect"
    SLOW = "slow"
    DEAD = "dead"


class Verdict(NamedTuple):
    """A state, and one sentence of why."""

    state: State
    reason: str


class _Subject:
    """What was observed of one subject, in awake seconds."""

    __slots__ = ("answers_ms", "every_s", "failures", "gaps_s", "heard_at", "why")

    def __init__(self, now_s: float, every_s: float) -> None:
        self.heard_at = now_s
        self.every_s = every_s
        self.gaps_s: deque[float] = deque(maxlen=REMEMBERED)
        self.answers_ms: deque[float] = deque(maxlen=ANSWERS_JUDGED)
        self.failures = 0
        self.why = ""


class Detector:
    """Verdicts on everything that should give a sign of life now and then."""

    def __init__(self, now: float) -> None:
        self.distrust = 0
        """0: this node trusts its own verdicts; up to `DISTRUST_MAX`: so many times more patience."""
        self._subjects: dict[str, _Subject] = {}
        self._ticked_at = now
        self._awake_s = 0.0

    def expect(self, subject: str, now: float, every_s: float) -> None:
        """From now on a sign of life is expected every so often."""
        self._subjects.setdefault(subject, _Subject(self._awake(now), every_s))

    def forget(self, subject: str) -> None:
        """It has left in good order."""
        self._subjects.pop(subject, None)

    def heard(self, subject: str, now: float, answer_ms: float = 0.0) -> None:
        """A sign of life of an expected subject; `answer_ms` after it was asked for, if it was."""
        known = self._subjects[subject]
        awake = self._awake(now)
        known.gaps_s.append(awake - known.heard_at)
        known.heard_at, known.failures, known.why = awake, 0, ""
        known.answers_ms.append(answer_ms)

    def failed(self, subject: str, why: str) -> None:
        """It was asked and refused, or answered that it cannot do its work. Silence needs no call."""
        known = self._subjects[subject]
        known.failures += 1
        known.why = why

    def tick(self, now: float, lag_ms: float) -> None:
        """To be called every `TICK_S`: how this node itself fares, by its loop's lag and by how late this call is."""
        napped = now - self._ticked_at > NAP_S
        self._awake_s = self._awake(now)
        self._ticked_at = now
        if napped or lag_ms >= LAG_DISTRUSTED_MS or self._everyone_is_silent():
            self.distrust = min(DISTRUST_MAX, self.distrust + 2)
        else:
            self.distrust = max(0, self.distrust - 1)

    def verdict(self, subject: str, now: float, slow_ms: float = inf) -> Verdict:
        """What to think of a subject. Median answers of `slow_ms` or more are slow."""
        known = self._subjects.get(subject)
        if known is None:
            return Verdict(State.SUSPECT, "nothing was heard of it yet")
        return _judge(known, self._awake(now) - known.heard_at, 1 + self.distrust, slow_ms)

    def _awake(self, now: float) -> float:
        """Seconds that this node has run for: of a nap counts only what a punctual tick would have taken."""
        return self._awake_s + min(max(0.0, now - self._ticked_at), NAP_S)

    def _everyone_is_silent(self) -> bool:
        """When most of what is watched seems to be gone at once, the watcher is the likelier cause."""
        silent = sum(
            self._awake_s - known.heard_at > NAP_S * known.every_s for known in self._subjects.values()
        )
        return len(self._subjects) >= SUBJECTS_MANY and silent * 2 > len(self._subjects)


def _judge(known: _Subject, silent_s: float, patience: int, slow_ms: float) -> Verdict:
    doubt = f"; this node distrusts itself, patience x{patience}" if patience > 1 else ""
    if known.failures >= FAILURES_DEAD * patience:
        return Verdict(State.DEAD, f"it failed {known.failures} times in a row: {known.why}")
    suspicion = phi(silent_s / patience, known.gaps_s, known.every_s)
    if suspicion >= PHI_DEAD:
        return Verdict(State.DEAD, f"nothing was heard of it for {silent_s:.1f} s{_ended(known.why)}")
    if known.failures:
        return Verdict(State.SUSPECT, f"it failed {known.failures} times in a row: {known.why}{doubt}")
    if suspicion >= PHI_SUSPECT:
        return Verdict(State.SUSPECT, f"nothing was heard of it for {silent_s:.1f} s{doubt}")
    answer_ms = median(known.answers_ms) if known.answers_ms else 0.0
    if answer_ms >= slow_ms:
        return Verdict(State.SLOW, f"it answers, but takes {answer_ms:.0f} ms; {slow_ms:.0f} are slow")
    return Verdict(State.LIVE, "it answers")


def _ended(why: str) -> str:
    return f": {why}" if why else ""


def phi(silent_s: float, gaps_s: Sequence[float], every_s: float) -> float:
    """How unlikely so long a silence is: -log10 of its probability, with the gaps before taken for normal."""
    mean = max(every_s, fmean(gaps_s)) if gaps_s else every_s
    spread = max(RHYTHM_SPREAD_MIN * every_s, _spread(gaps_s) if len(gaps_s) > 1 else 0.0)
    probability = 0.5 * erfc((silent_s - mean) / (spread * sqrt(2)))
    return -log10(probability) if probability > 0.0 else inf


def _spread(values: Sequence[float]) -> float:
    """The standard deviation, without the exact fractions of `statistics`: this is asked for many times a second."""
    mean = fmean(values)
    return sqrt(fmean([(value - mean) ** 2 for value in values]))
