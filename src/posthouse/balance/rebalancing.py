"""Evening out long-lived sessions: which target sheds how many of its own now, and where to. Pure.

Every node runs this on its own picture of all reports and sheds only its own, so no leader is needed and two pictures
that differ a little do no harm: each sheds what exceeds its fair share, and all excesses together fit into the room.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from posthouse.balance.policy import Decision, draw
from posthouse.balance.report import Snapshot, Target

SLACK_SESSIONS = 1.0
"""Nobody moves for less: among few sessions one more is what cannot be divided."""
PER_S_MIN = 0.5
BURST_S = 2.0


class RebalanceRule(msgspec.Struct, frozen=True):
    """Begin above `above` times the fair share, end at `until` times; `share_per_s` of the own sessions at most."""

    above: float = 1.08
    until: float = 1.04
    share_per_s: float = 0.0075


class Pace(msgspec.Struct, frozen=True):
    """What a node remembers between two decisions: its tokens, when they were counted, whether it is shedding."""

    tokens: float = 1.0
    at: float | None = None
    shedding: bool = False


class Shed(NamedTuple):
    """`sessions` is how many a target should send away, 0 for none, and `why` is one sentence.

    `stuck`: it has too many, and nobody who has room says where clients reach it.
    """

    target: str
    sessions: int
    why: str
    stuck: bool = False


def plan(snapshot: Snapshot, rule: RebalanceRule) -> list[Shed]:
    """Everything that would be moved, target by target: what a dry run shows."""
    return [excess(snapshot, target.id, rule) for target in snapshot.targets]


def excess(snapshot: Snapshot, target_id: str, rule: RebalanceRule, shedding: bool = False) -> Shed:
    """How many sessions a target has too many. One that is `shedding` goes on to `until`, others begin at `above`."""
    among = snapshot.candidates
    target = next((each for each in among if each.id == target_id), None)
    why_not = _why_not(snapshot, among, target_id)
    if target is None or why_not:
        return Shed(target_id, 0, f"{target_id} keeps its sessions: {why_not}")
    fair, has = _fair(target, among), target.load.connections
    said = (
        f"{has} sessions, {has / fair:.2f} times the fair share of {fair:.0f}" if fair else f"{has} sessions"
    )
    if has <= (rule.until * fair if shedding else max(rule.above * fair, fair + SLACK_SESSIONS)):
        return Shed(target_id, 0, f"{target_id} keeps its sessions: {said}")
    unaddressed = _unaddressed(target, among)
    if unaddressed:
        nowhere = f"where clients reach {unaddressed} is not configured (listen.public_url, listen.front_url)"
        return Shed(target_id, 0, f"{target_id} keeps its sessions: {said}, but {nowhere}", stuck=True)
    return Shed(target_id, int(has - rule.until * fair), f"{target_id} sheds: {said}")


def step(snapshot: Snapshot, target_id: str, pace: Pace, rule: RebalanceRule) -> tuple[Shed, Pace]:
    """How many sessions a target sends away now: its excess, as fast as its token bucket allows, and as far as the
    others have room now: that of a newcomer grows with its slow start."""
    over = excess(snapshot, target_id, rule, pace.shedding)
    if not over.sessions:
        return over, Pace(at=snapshot.at)
    among = snapshot.candidates
    target = next(each for each in among if each.id == target_id)
    per_s = max(PER_S_MIN, rule.share_per_s * target.load.connections)
    passed_s = snapshot.at - pace.at if pace.at is not None else 0.0
    tokens = min(max(1.0, per_s * BURST_S), pace.tokens + per_s * max(0.0, passed_s))
    now = min(over.sessions, int(tokens), int(_room_for(target, among, rule)))
    return over._replace(sessions=now), Pace(tokens - now, snapshot.at, shedding=True)


def receiver(snapshot: Snapshot, without: str, uniform: float) -> Decision:
    """Where one shed session goes: drawn by the room that each target has below its fair share."""
    among = snapshot.candidates
    rooms = [0.0 if each.id == without else _room(each, among) for each in among]
    if not sum(rooms):
        return Decision(None, "nobody has fewer sessions than its fair share")
    index, _ = draw(rooms, uniform)
    chosen = among[index]
    why = f"{chosen.id}: {chosen.load.connections} sessions, {rooms[index]:.0f} below its fair share"
    return Decision(chosen.id, why)


def _why_not(snapshot: Snapshot, among: Sequence[Target], target_id: str) -> str:
    """Why nothing is moved, whatever the numbers; empty when they may decide."""
    if snapshot.panic:
        return snapshot.panic
    if target_id not in [each.id for each in among]:
        out = next((each.out for each in snapshot.targets if each.id == target_id), "")
        return f"it is {out or 'not known'}"
    if len(among) < 2:
        return "there is no other node to even out with"
    leaving = [each.id for each in snapshot.targets if each.load.draining and each.load.connections]
    if leaving:
        return f"{', '.join(leaving)} is still sending its sessions away"
    silent = [each.id for each in among if not each.fresh]
    return f"the sessions of {', '.join(silent)} are not known" if silent else ""


def _fair(target: Target, among: Sequence[Target]) -> float:
    """Its share of all sessions, by weight alone: nodes that are all young even out as old ones do."""
    total = sum(each.load.connections for each in among)
    return total * target.weight / sum(each.weight for each in among)


def _unaddressed(target: Target, among: Sequence[Target]) -> str:
    """The others who have less than their share, when nobody can be sent to any of them; otherwise empty."""
    below = [each for each in among if each is not target and each.load.connections < _fair(each, among)]
    return "" if any(each.addressed for each in below) else ", ".join(each.id for each in below)


def _room(target: Target, among: Sequence[Target]) -> float:
    """How many sessions a target may get now; a newcomer fewer than in the end."""
    if not target.addressed:
        return 0.0
    return max(0.0, _fair(target, among) * target.factor - target.load.connections)


def _room_for(target: Target, among: Sequence[Target], rule: RebalanceRule) -> float:
    """The room that all have now, divided among those that shed by what each has too much."""
    too_many = {each.id: max(0.0, each.load.connections - rule.until * _fair(each, among)) for each in among}
    return sum(_room(each, among) for each in among) * too_many[target.id] / sum(too_many.values())
