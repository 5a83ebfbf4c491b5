"""Carries out rebalancing on one gateway: sheds as many of its own sessions as the decision says, chosen by chance.

Who was moved here lately stays: a session that resumed from a node which serves on has been moved, or has moved by
itself, and is not sent round again.
"""

import random
from collections.abc import Callable, Collection

from posthouse.balance.policy import Decision
from posthouse.balance.rebalancing import Pace, RebalanceRule, Shed, receiver, step
from posthouse.balance.report import Snapshot
from posthouse.gateway.drain import Place
from posthouse.gateway.session import Session
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.protocol.codes import Code
from posthouse.protocol.phases import Phase

_log = logger(__name__)

TICK_S = 0.25


class Rebalancer:
    """`picture` is what the cluster looks like now; `place` makes a client's address of a decision, and counts it."""

    def __init__(
        self,
        node: str,
        sessions: Callable[[], Collection[Session]],
        picture: Callable[[], Snapshot],
        place: Callable[[Decision], Place],
        rule: RebalanceRule,
        again_after_s: float,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.automatic = True
        self.moved = 0
        self.last = Shed(node, 0, f"{node} has not decided yet")
        self.on_decision: Callable[[Shed], None] = lambda shed: None
        """Told when shedding begins and ends, and once when nobody can be moved for lack of an address."""
        self._node = node
        self._sessions = sessions
        self._picture = picture
        self._place = place
        self._rule = rule
        self._again_after_s = again_after_s
        self._clock = clock
        self._rng = rng
        self._pace = Pace()
        self._asked = self._stuck = False

    async def run(self) -> None:
        """Decide for ever."""
        while True:
            await self._clock.sleep(TICK_S)
            if self.automatic or self._asked:
                self.shed()

    def ask(self) -> None:
        """Even out now, also when that is not automatic, until nothing is left to do."""
        self._asked, self._stuck = True, False

    def shed(self) -> Shed:
        """Decide once, and do it."""
        picture, was_shedding = self._picture(), self._pace.shedding
        decided, self._pace = step(picture, self._node, self._pace, self._rule)
        if self._pace.shedding != was_shedding or (decided.stuck and not self._stuck):
            _log.info("rebalancing", begins=self._pace.shedding, reason=decided.why)
            self.on_decision(decided)
        self._asked = self._asked and self._pace.shedding
        self._stuck = decided.stuck or (self._stuck and not self._pace.shedding)
        self.last = decided
        if decided.sessions:
            self._send_away(picture, decided)
        return decided

    def movable(self, picture: Snapshot) -> list[Session]:
        """Live sessions that were not moved here lately, in a fixed order."""
        serving_since = {target.id: picture.at - target.age_s for target in picture.candidates}
        return [
            session
            for session in sorted(self._sessions(), key=lambda session: (session.opened, session.id))
            if session.phase is Phase.LIVE and not self._was_moved(session, serving_since)
        ]

    def _was_moved(self, session: Session, serving_since: dict[str, float]) -> bool:
        """It came from a node that serves on, and has done so since before: so it was not driven away."""
        since = serving_since.get(session.came_from)
        young = self._clock.monotonic() - session.opened < self._again_after_s
        return since is not None and young and since < session.opened

    def _send_away(self, picture: Snapshot, decided: Shed) -> None:
        movable = self.movable(picture)
        for session in self._rng.sample(movable, min(decided.sessions, len(movable))):
            decision = receiver(self._picture(), self._node, self._rng.random())
            place = self._place(decision)
            if not place.endpoint:
                return
            session.depart(Code.REBALANCED, "sessions are being evened out among the nodes", place.endpoint)
            self.moved += 1
