"""A loop that runs on one node of the cluster at a time, under a lease.

It is stopped when the lease is lost or could not be renewed for two thirds of its time to live, and begins elsewhere
when that has expired. For a moment two may run, or none: the loop must bear both.
"""

import asyncio
from collections.abc import Awaitable, Callable

from posthouse.cluster.lease import RENEW_INTERVAL_S, Claim
from posthouse.kit.clock import Clock
from posthouse.kit.tasks import start, wait_event


class Singleton:
    """`able` is asked before taking the lease and while it is held: who cannot do the work leaves it to others.

    `without_cache` True: the loop runs also while nobody can say who has the lease, on every node then. `on_turn` hears
    in one sentence that it begins or ends here; `on_known`, after each attempt, whether anybody can say who has it.
    """

    def __init__(
        self,
        claim: Claim,
        loop: Callable[[], Awaitable[None]],
        clock: Clock,
        *,
        able: Callable[[], bool] = lambda: True,
        without_cache: bool = False,
    ) -> None:
        self.claim = claim
        self._loop = loop
        self._clock = clock
        self._able = able
        self._without_cache = without_cache
        self.on_turn: Callable[[str], None] = lambda sentence: None
        self.on_known: Callable[[bool], None] = lambda known: None
        self.running = False

    async def run(self) -> None:
        """For ever: wait for the lease, work while it is held. A crash of the loop frees the lease, and is raised."""
        while True:
            if await self._entitled():
                await self._work()
            await self._clock.sleep(RENEW_INTERVAL_S)

    async def _entitled(self) -> bool:
        if not self._able():
            await self.claim.release()
            return False
        held = await self.claim.renew()
        self.on_known(self.claim.known)
        return held or (self._without_cache and not self.claim.known)

    async def _work(self) -> None:
        self.on_turn(f"it runs here: {self.claim.why}")
        ended = asyncio.Event()
        work = start(self._loop_until(ended))
        self.running = True
        try:
            while not ended.is_set():
                await wait_event(ended, self._pause_s(), self._clock)
                if not ended.is_set() and not await self._entitled():
                    self.on_turn(f"it does not run here any more: {self.claim.why}")
                    return
            await work
        finally:
            self.running = False
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self.claim.release()

    def _pause_s(self) -> float:
        """Until the next renewal, or until the lease must be let go of."""
        return min(RENEW_INTERVAL_S, self.claim.left_s) if self.claim.held else RENEW_INTERVAL_S

    async def _loop_until(self, ended: asyncio.Event) -> None:
        try:
            await self._loop()
        finally:
            ended.set()
