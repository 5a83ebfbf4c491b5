"""What to do about a node that is overloaded or sick: a decision with its reason, mildest first. Pure.

Overload: new sessions are refused (shed), later a share of the sessions is moved. Sickness, which is being unready for
reasons of one's own: drain, later restart. Whoever recovers is taken back in. A node does nothing that leaves nobody to
take over, and nothing at all when most nodes are in trouble: then the trouble is not the node's.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

MOVED_SHARE = 0.1
"""Of an overloaded node's sessions, at a time."""


class Action(StrEnum):
    """Every remedy, and its end."""

    SHED = "shed"
    ADMIT = "admit"
    MOVE = "move"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    RESTART = "restart"

    @property
    def harms(self) -> bool:
        """It costs sessions or capacity: one node at a time, rate-limited, and not in a dry run."""
        return self in (Action.MOVE, Action.DRAIN, Action.RESTART)


class Remedy(NamedTuple):
    """What to do and one sentence of why."""

    action: Action
    why: str


class RemedyRule(msgspec.Struct, frozen=True):
    """When to do what. Shares are of the node's own limits, times in seconds."""

    shed_above: float = 0.95
    admit_below: float = 0.8
    overloaded_s: float = 5.0
    move_after_s: float = 30.0
    drain_after_s: float = 30.0
    restart_after_s: float = 120.0
    recovered_s: float = 15.0
    others_ready_share_min: float = 0.5


class Symptoms(NamedTuple):
    """A node at one moment. `utilisation` 1.0 is all that it can bear. `sick`: the sentence of why it is not ready;
    empty when it is, or drains on demand.

    `others` is how many other nodes are known and alive, `others_ready` how many of them take clients now, and
    `others_free` how many of those are not overloaded themselves. `restartable`: somebody would start it again.
    """

    utilisation: float = 0.0
    sick: str = ""
    others: int = 0
    others_ready: int = 0
    others_free: int = 0
    restartable: bool = False


class Course(msgspec.Struct, frozen=True):
    """How it came to this: since when, and what has been done about it. `none` stands for not now."""

    overloaded_since: float | None = None
    relieved_since: float | None = None
    sick_since: float | None = None
    well_since: float | None = None
    shedding: bool = False
    moved_at: float | None = None
    drained_at: float | None = None
    restarted: bool = False


def observe(course: Course, symptoms: Symptoms, rule: RemedyRule, now: float) -> Course:
    """What the symptoms of this moment add to the course."""
    over, under = symptoms.utilisation >= rule.shed_above, symptoms.utilisation <= rule.admit_below
    return replace(
        course,
        overloaded_since=_since(course.overloaded_since, over or (course.shedding and not under), now),
        relieved_since=_since(course.relieved_since, under, now),
        sick_since=_since(course.sick_since, bool(symptoms.sick), now),
        well_since=_since(course.well_since, not symptoms.sick, now),
    )


def decide(course: Course, symptoms: Symptoms, rule: RemedyRule, now: float) -> Remedy | None:
    """The next remedy, or None. The course is the one that `observe` gave for the same moment."""
    return (
        _back(course, rule, now)
        or _against_overload(course, symptoms, rule, now)
        or _against_sickness(course, symptoms, rule, now)
    )


def done(course: Course, remedy: Remedy, now: float) -> Course:
    """The course after a remedy was applied, or would have been."""
    match remedy.action:
        case Action.SHED:
            return replace(course, shedding=True)
        case Action.ADMIT:
            return replace(course, shedding=False, moved_at=None)
        case Action.MOVE:
            return replace(course, moved_at=now)
        case Action.DRAIN:
            return replace(course, drained_at=now)
        case Action.UNDRAIN:
            return replace(course, drained_at=None, restarted=False)
        case Action.RESTART:
            return replace(course, restarted=True)


def _back(course: Course, rule: RemedyRule, now: float) -> Remedy | None:
    relieved_s, well_s = _for(course.relieved_since, now), _for(course.well_since, now)
    if course.shedding and relieved_s >= rule.overloaded_s:
        why = (
            f"the load has been below {rule.admit_below:.0%} for {relieved_s:.0f} s: new sessions are welcome"
        )
        return Remedy(Action.ADMIT, why)
    if course.drained_at is not None and well_s >= rule.recovered_s:
        return Remedy(Action.UNDRAIN, f"the node has been well for {well_s:.0f} s: it is taken back in")
    return None


def _against_overload(course: Course, symptoms: Symptoms, rule: RemedyRule, now: float) -> Remedy | None:
    loaded_s = _for(course.overloaded_since, now)
    if loaded_s < rule.overloaded_s:
        return None
    said = f"the node has been overloaded ({symptoms.utilisation:.2f}) for {loaded_s:.0f} s"
    if not course.shedding:
        return Remedy(Action.SHED, f"{said}: new sessions are refused with a time to come back")
    last = course.moved_at if course.moved_at is not None else course.overloaded_since
    if _for(last, now) >= rule.move_after_s and symptoms.others_free:
        free = _nodes(symptoms.others_free)
        return Remedy(
            Action.MOVE, f"{said}, also without new sessions: {MOVED_SHARE:.0%} of them go to {free}"
        )
    return None


def _against_sickness(course: Course, symptoms: Symptoms, rule: RemedyRule, now: float) -> Remedy | None:
    sick_s = _for(course.sick_since, now)
    if sick_s < rule.drain_after_s or not _others_do_better(symptoms, rule):
        return None
    said = f"not ready for {sick_s:.0f} s: {symptoms.sick}"
    if course.drained_at is None:
        who = _nodes(symptoms.others_ready)
        return Remedy(Action.DRAIN, f"{said}; its sessions go to {who}")
    if symptoms.restartable and not course.restarted and now - course.drained_at >= rule.restart_after_s:
        return Remedy(Action.RESTART, f"{said}; draining it did not help")
    return None


def _others_do_better(symptoms: Symptoms, rule: RemedyRule) -> bool:
    needed = max(1.0, symptoms.others * rule.others_ready_share_min)
    return symptoms.others_ready >= needed


def _since(before: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if before is None else before


def _for(since: float | None, now: float) -> float:
    """For how long; negative when not at all."""
    return -1.0 if since is None else now - since


def _nodes(count: int) -> str:
    return f"{count} other nodes" if count > 1 else "one other node"
