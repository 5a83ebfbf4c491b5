"""After everything has healed, one fault alone: how long what is said meanwhile takes to reach everybody.

The story before it shows that nothing is lost, however late; this shows that nothing is late. What the slower paths are
for is seen only here: without them messages would still arrive, once the fault is over.
"""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from posthouse.testing.simulation.faults import Fault, Kind

BEGINS_S = 1.0
TALK_S = 3.0
"""For so long people talk, and somewhere in between the fault begins."""
SENDS = 4
NEAR_S = 0.3
"""Half of the messages are said so near to the fault's beginning: what is under way then is what gets lost."""
WITHIN_S: Mapping[Kind, float] = {
    Kind.CRASH_CACHE: 2.0,
    Kind.WIPE_CACHE: 2.0,
    Kind.CUT: 5.0,
    Kind.MUTE_BUS: 7.0,
    Kind.CRASH_NODE: 8.0,
    Kind.FREEZE_NODE: 9.0,
}
"""After each fault, so many seconds after it was said every message is with everybody."""


class Trial(NamedTuple):
    """A fault that lasts until the last message must have arrived."""

    fault: Fault
    within_s: float

    @property
    def lasts_s(self) -> float:
        """From the first message to the verdict."""
        return TALK_S + self.within_s


def draw_trial(rng: random.Random, nodes: Sequence[str], cache: str) -> Trial:
    """The trial of one story. A cut is between a node and the cache, in one direction or the other."""
    kind, node = rng.choice(list(WITHIN_S)), rng.choice(nodes)
    target, other = (node if kind in (Kind.CRASH_NODE, Kind.FREEZE_NODE) else cache), ""
    if kind is Kind.CUT:
        target, other = rng.choice(((node, cache), (cache, node)))
    within_s = WITHIN_S[kind]
    return Trial(Fault(BEGINS_S, kind, target, TALK_S + within_s - BEGINS_S, other), within_s)


def moments(rng: random.Random) -> list[float]:
    """When one person speaks, in seconds from the trial's beginning."""
    near = [BEGINS_S + rng.uniform(-NEAR_S, NEAR_S) for _ in range(SENDS // 2)]
    return sorted([*near, *(rng.uniform(0.0, TALK_S) for _ in range(SENDS - SENDS // 2))])
