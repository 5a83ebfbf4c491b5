"""Latencies of millions of events as a histogram that adds up over processes. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping

PRECISION_BITS = 6
"""A bucket is at most 1/64 wide, relative to its value."""


class Latencies:
    """Counts latencies by rounded microseconds."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts)

    def add(self, seconds: float) -> None:
        """Count one; below a microsecond counts as none."""
        us = int(seconds * 1e6)
        shift = us.bit_length() - PRECISION_BITS - 1
        self.counts[us >> shift << shift if shift > 0 else us] += 1

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` (0 to 1) of all stay at or below, in milliseconds; 0.0 where there are none."""
        wanted = share * self.counts.total()
        for us in sorted(self.counts):
            wanted -= self.counts[us]
            if wanted <= 0:
                return us / 1000
        return 0.0


def sum_of(parts: Iterable[Latencies]) -> Latencies:
    """All together."""
    whole = Latencies()
    for part in parts:
        whole.counts += part.counts
    return whole
