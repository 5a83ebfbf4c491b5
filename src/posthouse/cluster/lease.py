"""One node's claim on a lease, by its own monotonic clock: it lets go at two thirds of the time to live, unasked.

Two at once are possible all the same (a wiped cache, a frozen process): what is done under a lease must bear it.
"""

from collections.abc import Callable

from posthouse.cache.base import CacheUnavailable, Lease, Leases
from posthouse.kit.clock import Clock

TTL_S = 3.0
RENEW_INTERVAL_S = TTL_S / 3
HOLD_S = TTL_S * 2 / 3


class Claim:
    """`own` names this process, not only its node: a process that was restarted does not inherit."""

    def __init__(self, leases: Leases, name: str, own: Callable[[], str], clock: Clock) -> None:
        self.name = name
        self._leases = leases
        self._own = own
        self._clock = clock
        self._lease = Lease(name, "", 0)
        self._asked_at = float("-inf")
        self._known = False

    def __repr__(self) -> str:
        return f"<Claim {self.name} {'held' if self.held else 'not held'}: {self.why}>"

    @property
    def held(self) -> bool:
        """True while it is this process's for certain."""
        return self._lease.holder == self._own() and self.left_s > 0

    @property
    def left_s(self) -> float:
        """For how long it may still be relied on."""
        return self._asked_at + HOLD_S - self._clock.monotonic()

    @property
    def known(self) -> bool:
        """False when the cache could not say at the last attempt who has it."""
        return self._known

    @property
    def holder(self) -> str:
        """Who had it when last heard of; empty: nobody, or never heard."""
        return self._lease.holder

    @property
    def epoch(self) -> int:
        """Rises with each change of holder."""
        return self._lease.epoch

    @property
    def why(self) -> str:
        """One sentence."""
        if not self._known:
            return "the cache cannot say who has it"
        return f"{self._lease.holder or 'nobody'} has it, epoch {self._lease.epoch}"

    async def renew(self) -> bool:
        """Take it or keep it; returns `held`. Never raises: while the cache is silent, what is held runs out."""
        asked_at = self._clock.monotonic()  # before asking: the answer may come late, the time to live runs
        try:
            lease = await self._leases.take(self.name, self._own(), TTL_S)
        except CacheUnavailable:
            self._known = False
            return self.held
        self._known, self._lease = True, lease
        if lease.holder == self._own():
            self._asked_at = asked_at
        return self.held

    async def release(self) -> None:
        """Give it back, if it is still this one. A silent cache lets it expire."""
        lease, self._lease = self._lease, self._lease._replace(holder="")
        if lease.holder == self._own():
            try:
                await self._leases.release(lease)
            except CacheUnavailable:
                self._known = False
