"""Wake-ups for many clients of one event loop, on one clock: a heap, and one sleeping task for the earliest."""

import heapq
import itertools
from collections.abc import Callable
from math import inf

from posthouse.kit.clock import Clock
from posthouse.kit.tasks import Tasks

Callback = Callable[[float], None]


class Alarms:
    """Calls back at given times, once each. There is no cancelling: whoever is called finds out if it still matters."""

    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._clock = clock
        self._tasks = tasks
        self._heap: list[tuple[float, int, Callback]] = []
        self._order = itertools.count()
        self._armed = inf

    def set(self, at: float, callback: Callback) -> None:
        """Call `callback(at)` when the monotonic clock has reached `at`."""
        heapq.heappush(self._heap, (at, next(self._order), callback))
        if at < self._armed:
            self._armed = at
            self._tasks.spawn("client alarms", self._sleep(at))

    async def _sleep(self, at: float) -> None:
        """Sleep from alarm to alarm, until an earlier one has got a sleeper of its own."""
        while at == self._armed:
            await self._clock.sleep(at - self._clock.monotonic())
            if at == self._armed:
                self._ring()
                at = self._armed = self._heap[0][0] if self._heap else inf
                if at == inf:
                    return

    def _ring(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, _, callback = heapq.heappop(self._heap)
            callback(at)
