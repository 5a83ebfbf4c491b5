"""How fast callers may ask: a bucket for each app's back end and each user. Pure: the caller passes the time.

Overflow policy: reject, and say when to come back. The map is bounded: full buckets, which owe nothing, are forgotten
first; if none is full, all are, so that a flood of strangers costs memory only up to here.
"""

from posthouse.api.settings import ApiSettings
from posthouse.kit.limits import TokenBucket

BUCKETS_MAX = 50_000


class RequestLimits:
    """Counts requests by (app, user); the empty user is the app's back end."""

    def __init__(self, settings: ApiSettings, buckets_max: int = BUCKETS_MAX) -> None:
        self._settings = settings
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._buckets_max = buckets_max

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, app: str, user: str, now: float) -> float:
        """0.0 and the request is counted, or the seconds after which to repeat it."""
        bucket = self._buckets.get((app, user))
        if bucket is None:
            bucket = self._buckets[app, user] = self._new(user, now)
        return 0.0 if bucket.take(now) else bucket.wait_s(now)

    def _new(self, user: str, now: float) -> TokenBucket:
        if len(self._buckets) >= self._buckets_max:
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.full(now)}
        if len(self._buckets) >= self._buckets_max:
            self._buckets.clear()
        settings = self._settings
        if user:
            return TokenBucket(settings.requests_per_user_per_s, settings.requests_per_user_burst, now)
        return TokenBucket(settings.requests_per_app_per_s, settings.requests_per_app_burst, now)
