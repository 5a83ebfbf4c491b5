"""Applies remedies to this node: one look a second, one remedy at a time, each told to the audit.

What harms needs three things besides the decision: a token of the node's own allowance, the cluster's permit (a lease,
so that one node at a time is treated), and the mode "act". In a dry run all of it is done but the deed.
"""

from collections.abc import Callable
from typing import Protocol

from posthouse.health.remedies import Action, Course, Remedy, RemedyRule, Symptoms, decide, done, observe
from posthouse.kit.clock import Clock
from posthouse.kit.limits import TokenBucket

LOOK_INTERVAL_S = 1.0
BURST = 2.0


class Permit(Protocol):
    """The right to be the one node that is treated now."""

    async def renew(self) -> bool:
        """Take it or keep it. False: another node has it, or nobody can say."""
        ...

    async def release(self) -> None:
        """Give it back."""
        ...


class Treatment(Protocol):
    """What can be done to this node. Each returns at once."""

    def apply(self, remedy: Remedy) -> None:
        """Do it."""
        ...


Audit = Callable[[Remedy, bool], None]
"""Told of every remedy, and whether it was only a dry run."""


class Attendant:
    """Looks after one node. `run` is the loop."""

    def __init__(
        self,
        symptoms: Callable[[], Symptoms],
        treatment: Treatment,
        permit: Permit,
        audit: Audit,
        clock: Clock,
        rule: RemedyRule,
        *,
        acts: bool = False,
        per_hour: float = 6.0,
    ) -> None:
        self.course = Course()
        self.applied = 0
        self.withheld = 0
        """Remedies that had to wait for a token or the permit, counted each second."""
        self._symptoms = symptoms
        self._treatment = treatment
        self._permit = permit
        self._audit = audit
        self._clock = clock
        self._rule = rule
        self._acts = acts
        self._bucket = TokenBucket(per_hour / 3600, BURST, clock.monotonic())
        self._permitted = False

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._clock.sleep(LOOK_INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Decide once, and act on it."""
        now, symptoms = self._clock.monotonic(), self._symptoms()
        self.course = observe(self.course, symptoms, self._rule, now)
        remedy = decide(self.course, symptoms, self._rule, now)
        if remedy is not None and await self._may(remedy, now):
            self.course = done(self.course, remedy, now)
            self._do(remedy)
        await self._keep_permit()

    async def _may(self, remedy: Remedy, now: float) -> bool:
        if not remedy.action.harms:
            return True
        if self._bucket.wait_s(now) > 0.0 or not await self._permit.renew():
            self.withheld += 1
            return False
        self._permitted = True
        return self._bucket.take(now)

    def _do(self, remedy: Remedy) -> None:
        """Undoing what was only thought of is no deed either."""
        dry_run = not self._acts and remedy.action not in (Action.SHED, Action.ADMIT)
        self.applied += not dry_run
        self._audit(remedy, dry_run)
        if not dry_run:
            self._treatment.apply(remedy)

    async def _keep_permit(self) -> None:
        """It is held while the node is out of service, so that no second one follows it."""
        if not self._permitted:
            return
        if self.course.drained_at is None:
            self._permitted = False
            await self._permit.release()
        else:
            await self._permit.renew()
