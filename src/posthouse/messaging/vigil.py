"""Notices that the process did not run for a while: it was stopped, or starved of its processor. (Of a machine that is
suspended the clock may tell nothing.)

Whoever was connected has given up meanwhile, and may have gone on elsewhere; what they had sent still lies here.
"""

from posthouse.kit.clock import Clock

LOOK_INTERVAL_S = 0.5
STALL_S = 2.5
"""A client that hears nothing for half of its usual heartbeat interval leaves (P-6.3)."""
DOUBT_S = 1.0
"""Time to read what had come before, and that its sender has left."""


class Vigil:
    """Looks at the clock again and again: nothing else can tell a process that it was stopped.

    A stall begins another `watch`, which is odd and short; then comes the next, even one. What was taken in an odd
    watch, or in an earlier one, may be from somebody who has left.
    """

    def __init__(self, clock: Clock) -> None:
        self.watch = 0
        self._clock = clock
        self._looked_at: float | None = None
        self._doubted_until = 0.0

    def trusts(self, watch: int) -> bool:
        """True when nothing was amiss since `watch` was the current one."""
        return watch == self.watch and not watch % 2

    def look(self) -> None:
        """At the clock. Who is woken after a stall may ask before `keep` has looked, and looks first."""
        now = self._clock.monotonic()
        if self._looked_at is not None and now - self._looked_at > LOOK_INTERVAL_S + STALL_S:
            self.watch += 2 if self.watch % 2 else 1
            self._doubted_until = now + DOUBT_S
        elif self.watch % 2 and now >= self._doubted_until:
            self.watch += 1
        self._looked_at = now

    async def keep(self) -> None:
        """Look for ever. Until then nothing is held to be a stall."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_INTERVAL_S)
