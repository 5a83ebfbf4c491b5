"""Whether a series of samples is flat: the slope of its second half, as Theil and Sen estimate it. Pure.

The median of the slopes between all pairs does not follow single peaks, of which traffic makes many. The first half is
left out: what fills up to its limit and stays there has a slope only at first.
"""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

Sample = tuple[float, float]
"""When, in seconds, and how much."""


class Trend(NamedTuple):
    """The second half of a series. `growth` is what its slope makes of it from its begin to its end."""

    median: float
    peak: float
    per_hour: float
    growth: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it does not grow. That it shrinks is no fault."""
        return self.growth <= self.allowed


def trend(samples: Sequence[Sample], floor: float, share: float) -> Trend:
    """The trend of `samples`, in the order of time. It may grow by `floor` or by `share` of its median."""
    half = samples[len(samples) // 2 :] if len(samples) > 1 else samples
    values = [value for _, value in half]
    middle = median(values) if values else 0.0
    per_s = slope(half)
    seconds = half[-1][0] - half[0][0] if half else 0.0
    return Trend(
        median=middle,
        peak=max((value for _, value in samples), default=0.0),
        per_hour=per_s * 3600,
        growth=per_s * seconds,
        allowed=max(floor, share * middle),
    )


def slope(samples: Sequence[Sample]) -> float:
    """The median slope of all pairs, per second; 0 of fewer than two."""
    slopes = [
        (later - earlier) / (end - begin)
        for number, (begin, earlier) in enumerate(samples)
        for end, later in samples[number + 1 :]
        if end > begin
    ]
    return median(slopes) if slopes else 0.0
