"""Who may come in and how fast: limits of a connection, a user, an app and the node, with the time to come back.

Overflow policies: a connection that floods is disconnected, a send beyond a limit is refused with `retry_after_ms`, a
login beyond the node's pace or its user's is sent away with a time to come back. Resumes are exempt from the node's.
"""

from dataclasses import dataclass

from posthouse.kit.limits import TokenBucket

BUCKETS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second, with the burst that is allowed on top."""

    frames_per_connection_per_s: float = 200.0
    frames_per_connection_burst: float = 1_000.0
    sends_per_user_per_s: float = 20.0
    sends_per_user_burst: float = 100.0
    sends_per_app_per_s: float = 50_000.0
    sends_per_app_burst: float = 100_000.0
    logins_per_s: float = 1_000.0
    logins_burst: float = 2_000.0
    logins_per_user_per_s: float = 5.0
    logins_per_user_burst: float = 50.0


class Admission:
    """Counts sends by user and app, and logins of the node. Idle owners are forgotten, so the maps stay bounded."""

    def __init__(self, rates: Rates, now: float) -> None:
        self.rates = rates
        self._users: dict[tuple[str, str], TokenBucket] = {}
        self._apps: dict[str, TokenBucket] = {}
        self._logins_of: dict[tuple[str, str], TokenBucket] = {}
        self._logins = TokenBucket(rates.logins_per_s, rates.logins_burst, now)
        self.shed_s = 0.0
        """Above 0 the node is overloaded: whoever comes is sent away for about so long, resuming or not."""
        self.sends_refused = 0
        self.logins_refused = 0

    def shed_wait_s(self) -> float:
        """0.0, or the seconds after which to come back because the node is overloaded, spread over as many."""
        if self.shed_s <= 0.0:
            return 0.0
        self.logins_refused += 1
        return self.shed_s * (1 + self.logins_refused % 16 / 16)

    def login_wait_s(self, now: float) -> float:
        """0.0 and one login is taken, or the seconds after which to come back."""
        if self._logins.take(now):
            return 0.0
        self.logins_refused += 1
        return self._logins.wait_s(now) + self.logins_refused % 16 / self.rates.logins_per_s

    def user_login_wait_s(self, app: str, user: str, now: float) -> float:
        """As `login_wait_s`, for the sessions that one user begins, also those that resume."""
        bucket = self._logins_of.get((app, user))
        if bucket is None:
            if len(self._logins_of) >= BUCKETS_MAX:
                self._logins_of.clear()  # so many at once are no one user's doing
            rates = self.rates
            bucket = TokenBucket(rates.logins_per_user_per_s, rates.logins_per_user_burst, now)
            self._logins_of[app, user] = bucket
        if bucket.take(now):
            return 0.0
        self.logins_refused += 1
        return bucket.wait_s(now)

    def send_wait_s(self, app: str, user: str, now: float) -> float:
        """0.0 and one send is taken, or the seconds after which to repeat it."""
        of_user = self._user_bucket((app, user), now)
        of_app = self._app_bucket(app, now)
        if of_user.take(now):
            if of_app.take(now):
                return 0.0
            of_user.give_back()
        self.sends_refused += 1
        return max(of_user.wait_s(now), of_app.wait_s(now))

    def frame_bucket(self, now: float) -> TokenBucket:
        """A new connection's allowance of frames."""
        rates = self.rates
        return TokenBucket(rates.frames_per_connection_per_s, rates.frames_per_connection_burst, now)

    def forget_idle(self, now: float) -> None:
        """Drop the buckets that are full again. Called now and then by the gateway's sweep."""
        self._users = {key: bucket for key, bucket in self._users.items() if not bucket.full(now)}
        self._logins_of = {key: bucket for key, bucket in self._logins_of.items() if not bucket.full(now)}

    def _user_bucket(self, key: tuple[str, str], now: float) -> TokenBucket:
        bucket = self._users.get(key)
        if bucket is None:
            if len(self._users) >= BUCKETS_MAX:
                self.forget_idle(now)
            bucket = TokenBucket(self.rates.sends_per_user_per_s, self.rates.sends_per_user_burst, now)
            self._users[key] = bucket
        return bucket

    def _app_bucket(self, app: str, now: float) -> TokenBucket:
        bucket = self._apps.get(app)
        if bucket is None:
            bucket = TokenBucket(self.rates.sends_per_app_per_s, self.rates.sends_per_app_burst, now)
            self._apps[app] = bucket
        return bucket
