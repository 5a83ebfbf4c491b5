"""Asks the database how it is, now and then, and keeps the last answer."""

from posthouse.health.readiness import Readiness, judge
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.storage.base import Condition, Database

_log = logger(__name__)

PROBE_INTERVAL_S = 1.0


class Probes:
    """The health of one node. `run` is the loop."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._condition: Condition | None = None
        self._answered_at = 0.0
        self.draining = False

    def readiness(self) -> Readiness:
        """The verdict on what was last seen."""
        silent_s = self._clock.monotonic() - self._answered_at
        return judge(self._condition, silent_s=silent_s, draining=self.draining)

    async def probe(self) -> None:
        """Ask once. A change of the verdict is a line in the log."""
        before = self.readiness()
        self._condition = await self._database.probe()
        self._answered_at = self._clock.monotonic()
        after = self.readiness()
        if after.ready != before.ready:
            (_log.info if after.ready else _log.error)(
                "readiness changed", ready=after.ready, reason=after.reason
            )

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self._clock.sleep(PROBE_INTERVAL_S)
            await self.probe()
