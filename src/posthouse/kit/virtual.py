"""Virtual time for asyncio: an event loop on which waiting costs nothing, because time jumps to the next timer.

Everything that runs on it is deterministic as long as it uses no thread, no socket and no clock of the machine. So a
whole cluster can be run for a virtual hour in a second, and again exactly as it was.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

ROUNDS_MAX = 100_000
"""Rounds of the loop in which no time passes: more, and somebody will never come to an end."""


class Stuck(RuntimeError):
    """Everybody waits, and nothing will ever wake anybody."""


class Spinning(RuntimeError):
    """Somebody is always ready, and time does not pass."""


class _NoSelector:
    """In the place of the selector: there is nothing to wait for."""

    def close(self) -> None:
        """Nothing is held."""


class _Call:
    """What `asyncio.Handle` and `TimerHandle` are, as far as anybody asks, at a third of the cost."""

    __slots__ = ("_when", "args", "callback", "context", "gone")

    def __init__(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> None:
        self._when = when
        self.callback = callback
        self.args = args
        self.context = context if context is not None else copy_context()
        self.gone = False

    def cancel(self) -> None:
        self.gone = True

    def cancelled(self) -> bool:
        return self.gone

    def when(self) -> float:
        return self._when


class VirtualLoop(asyncio.BaseEventLoop):
    """`loop.time()` is `elapsed`, in seconds from 0. Timers of one moment ring in the order in which they were set.

    What a callback raises ends the run: nothing that goes wrong in a simulation is passed over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self._rounds = 0
        self._selector = _NoSelector()
        self._soon: deque[_Call] = deque()
        self._timers: list[tuple[float, int, _Call | asyncio.Future[None]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.elapsed

    def call_soon(  # type: ignore[override]  # stands in for a Handle
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Call:
        call = _Call(self.elapsed, callback, args, context)
        self._soon.append(call)
        return call

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Call:
        call = _Call(when, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._order), call))
        return call

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Call:
        return self.call_at(self.elapsed + delay, callback, *args, context=context)

    def alarm(self, seconds: float) -> "asyncio.Future[None]":
        """Done after so long: as a timer that sets its result, at a third of the cost. Most timers are sleepers."""
        sleeper = self.create_future()
        heapq.heappush(self._timers, (self.elapsed + seconds, next(self._order), sleeper))
        return sleeper

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., object], *args: Any
    ) -> "asyncio.Future[Any]":
        """Here and now: a thread would make it another story each time."""
        return self.create_task(_call(func, args))

    def _run_once(self) -> None:
        """One round: what is ready, once each; when nothing is, the time jumps first."""
        soon, timers = self._soon, self._timers
        self._rounds += 1
        if not soon:
            self._jump()
        elif self._rounds > ROUNDS_MAX:
            raise Spinning(f"after {self._rounds:,} rounds it is still {self.elapsed:.6f} s")
        while timers and timers[0][0] <= self.elapsed:
            due = heapq.heappop(timers)[2]
            if isinstance(due, _Call):
                soon.append(due)
            elif not due.done():
                due.set_result(None)
        for _ in range(len(soon)):
            call = soon.popleft()
            if not call.gone:
                call.context.run(call.callback, *call.args)

    def _jump(self) -> None:
        """To the next timer that is still set."""
        timers = self._timers
        while timers and _is_over(timers[0][2]):
            heapq.heappop(timers)
        if not timers:
            raise Stuck("nothing is ready and no timer is set")
        if timers[0][0] > self.elapsed:
            self.elapsed, self._rounds = timers[0][0], 0

    def _write_to_self(self) -> None:
        """Nobody waits in a system call."""


def _is_over(timer: "_Call | asyncio.Future[None]") -> bool:
    return timer.gone if isinstance(timer, _Call) else timer.done()


async def _call(func: Callable[..., object], args: tuple[Any, ...]) -> object:
    return func(*args)


class VirtualClock:
    """A `Clock` on the running `VirtualLoop`. `skew_ms` sets its wall clock wrong; its monotonic one never is."""

    def __init__(self, loop: VirtualLoop, start_ms: int = 1_700_000_000_000, skew_ms: int = 0) -> None:
        self._loop = loop
        self._start_ms = start_ms
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        return self._start_ms + self.skew_ms + round(self._loop.elapsed * 1000)

    def monotonic(self) -> float:
        return self._loop.elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            await self._loop.alarm(seconds)
        else:
            await asyncio.sleep(0)
