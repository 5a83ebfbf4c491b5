"""Lame duck: takes a gateway out of service without a failed send, by telling each client when and where to go.

Nobody new is let in from the first moment. After a pause in which nodes that drain together hear of each other,
sessions depart one by one, evenly over a window: each is served until its turn comes and then goes at once, so nobody
waits twice. Runs as one task; `undo` ends it wherever it stands.
"""

import random
from collections.abc import Callable, Collection
from enum import Enum
from typing import NamedTuple

from posthouse.gateway.session import Session
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.protocol.codes import Code

_log = logger(__name__)

TICK_S = 0.05
ANSWER_S = 5.0
"""How long what is in flight may take after the window; then sessions end and their clients repeat elsewhere."""


class Standing(Enum):
    """How far a gateway has been taken out of service."""

    SERVING = "serving"
    DRAINING = "draining"
    DRAINED = "drained"


class Place(NamedTuple):
    """Where a client should go (empty: wherever it finds one), and one sentence of reason."""

    endpoint: str
    reason: str


class Drain:
    """The drain of one gateway. `sessions` are those connected now, `elsewhere` names a place for one of them."""

    def __init__(
        self,
        sessions: Callable[[], Collection[Session]],
        elsewhere: Callable[[], Place],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.standing = Standing.SERVING
        self.why = ""
        self.departed = 0
        self._sessions = sessions
        self._elsewhere = elsewhere
        self._clock = clock
        self._rng = rng
        self._turn = 0

    @property
    def under_way(self) -> bool:
        """True when nobody new is let in."""
        return self.standing is not Standing.SERVING

    def turn_away(self, session: Session) -> None:
        """Send away a session that comes while the gateway drains."""
        session.depart(Code.DRAINING, "the node is being taken out of service", self._elsewhere().endpoint)

    def undo(self) -> None:
        """Take clients again. Those who have gone stay where they are."""
        self._turn += 1
        self.standing, self.why = Standing.SERVING, ""

    async def run(self, within_s: float, gather_s: float, why: str) -> None:
        """Send everybody away within `within_s`, of which `gather_s` at the start are only for telling the others.

        Returns when no session is left, or when the drain is undone or another one takes over.
        """
        self._turn += 1
        turn, started = self._turn, self._clock.monotonic()
        self.standing, self.why = Standing.DRAINING, why
        _log.info("draining", within_s=within_s, sessions=len(self._sessions()), reason=why)
        if self._sessions():
            await self._clock.sleep(min(gather_s, within_s))
        leaving = self._in_random_order()
        everybody = len(leaving)
        window_s = started + within_s - self._clock.monotonic()
        begun = self._clock.monotonic()
        while turn == self._turn and self._sessions():
            passed_s = self._clock.monotonic() - begun
            share = passed_s / window_s if window_s > 0 else 1.0
            self._let_go(leaving, 0 if share >= 1.0 else round(everybody * (1.0 - share)))
            if passed_s > max(0.0, window_s) + ANSWER_S:
                self._end_all()
                break
            await self._clock.sleep(TICK_S)
        if turn == self._turn:
            self.standing = Standing.DRAINED
            _log.info("drained", departed=self.departed)

    def _in_random_order(self) -> list[Session]:
        """So that neither the oldest nor the newest always go first."""
        leaving = self._in_order()
        self._rng.shuffle(leaving)
        return leaving

    def _in_order(self) -> list[Session]:
        return sorted(self._sessions(), key=lambda session: (session.opened, session.id))

    def _let_go(self, leaving: list[Session], left: int) -> None:
        """Let everybody depart whose turn has come."""
        due, leaving[left:] = leaving[left:], []
        for session in due:
            self._depart(session)
        if not left:
            for session in self._in_order():  # who came between and has not said hello
                self._depart(session)

    def _depart(self, session: Session) -> None:
        if not session.gone and session.departing_since is None:
            place = self._elsewhere()
            _log.debug("a session departs", session=session.id, endpoint=place.endpoint, reason=place.reason)
            session.depart(Code.DRAINING, "the node is being taken out of service", place.endpoint)
            self.departed += 1

    def _end_all(self) -> None:
        for session in self._in_order():
            session.end(Code.DRAINING, "the node is being taken out of service")
