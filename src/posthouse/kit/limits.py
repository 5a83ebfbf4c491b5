"""Rate limits as pure arithmetic: the caller passes the time.

Every limit names its overflow policy at the place that uses it; this module only counts.
"""


class TokenBucket:
    """Allows `rate_per_s` on average with bursts up to `burst`. Starts full."""

    __slots__ = ("_at", "_tokens", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float, now: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, cost: float = 1.0) -> bool:
        """Take `cost` tokens and return True, or leave the bucket as it is and return False."""
        tokens = self._tokens
        if now > self._at:
            tokens = min(self.burst, tokens + (now - self._at) * self.rate_per_s)
            self._at = now
        allowed = tokens >= cost
        self._tokens = tokens - cost if allowed else tokens
        return allowed

    def give_back(self, cost: float = 1.0) -> None:
        """Undo a `take`: what it was for did not happen."""
        self._tokens += cost

    def wait_s(self, now: float, cost: float = 1.0) -> float:
        """Seconds until `cost` tokens will be there; 0.0 when they are now."""
        self._refill(now)
        return max(0.0, (cost - self._tokens) / self.rate_per_s)

    def full(self, now: float) -> bool:
        """True when nothing is owed, so that an idle owner's bucket may be forgotten."""
        self._refill(now)
        return self._tokens >= self.burst

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate_per_s)
            self._at = now
