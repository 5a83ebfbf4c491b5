"""Exponential backoff with full jitter: pure, the caller supplies the random number and does the waiting."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays before attempt 1, 2, 3 …; seconds.

    Full jitter (uniform between zero and the exponential cap) needs the fewest attempts when many clients
    lose the same server at once: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """

    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 30.0

    def delay_s(self, attempt: int, uniform: float) -> float:
        """Seconds to wait before `attempt` (1 is the first retry); `uniform` is a random number in [0, 1)."""
        exponent = min(attempt - 1, 32)
        return uniform * min(self.longest_s, self.first_s * self.factor**exponent)
