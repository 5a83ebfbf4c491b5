"""How long clients were not receiving, and what a share of them did not exceed. Pure.

A client is in conversations with steady traffic. Its pause after a fault is its longest time without any delivery, from
the fault on, until the end of what is looked at: a delivery before the fault does not begin it, and one that never
comes ends it only there. Without any fault it is the traffic's own longest gap.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil


def pause_s(deliveries: Sequence[float], since: float, until: float) -> float:
    """The longest time without a delivery between `since` and `until`; `deliveries` are times, rising."""
    within = deliveries[bisect_right(deliveries, since) : bisect_right(deliveries, until)]
    edges = [since, *within, until]
    return max(later - earlier for earlier, later in pairwise(edges))


def wait_s(sends: Iterable[tuple[float, float]], since: float, until: float) -> float:
    """How long the slowest send waited for its ack, of the time between `since` and `until` only.

    `sends` are the times of posting and of the ack.
    """
    within = (min(acked, until) - max(posted, since) for posted, acked in sends)
    return max((waited for waited in within if waited > 0), default=0.0)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0 to 1) of all stay at or below; 0.0 where there are none."""
    rising = sorted(values)
    return rising[max(0, ceil(share * len(rising)) - 1)] if rising else 0.0
