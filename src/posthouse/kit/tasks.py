"""Background tasks with an owner: started by name, restarted when they crash, stopped together.

The one place where a broad `except` is right: a supervisor logs the crash, counts it, waits and starts again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from posthouse.kit.backoff import Backoff
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger

_log = logger(__name__)

T = TypeVar("T")


def start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run `work` beside the caller, who keeps the task and awaits its result: for work with a result, not for loops."""
    return asyncio.get_running_loop().create_task(work)


def abandon(task: asyncio.Task[Any]) -> None:
    """Nobody waits for its result any more. One that has failed is not reported as never heard of."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    task.cancel()


async def wait_event(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Return when `event` is set or `seconds` have passed, whichever is first."""
    waiting = (start(_waited(event)), start(clock.sleep(seconds)))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def attempt(name: str, work: Awaitable[object], timeout_s: float) -> bool:
    """See `work` through, for `timeout_s` at most. Its failure is logged and kept from what must still be done."""
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except Exception as error:
        _log.error("a step failed; going on with the next", step=name, error=error)
        return False
    return True


async def _waited(event: asyncio.Event) -> None:
    await event.wait()


class Tasks:
    """Owns background tasks of one component. `close` cancels and awaits them all."""

    def __init__(self, clock: Clock, backoff: Backoff | None = None) -> None:
        self._clock = clock
        self._backoff = backoff or Backoff(first_s=0.1, longest_s=5.0)
        self._running: dict[asyncio.Task[None], None] = {}  # ended in the order in which they began
        self.crashes = 0

    @property
    def running(self) -> int:
        """How many there are now."""
        return len(self._running)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` once in the background; a crash is logged and counted."""
        task = asyncio.get_running_loop().create_task(self._guard(name, work), name=name)
        task.add_done_callback(
            lambda _: work.close()
        )  # one that is cancelled before its first step is not left unawaited
        self._own(task)

    def supervise(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run `loop()` until closed; when it crashes or returns, start it again after a backoff."""
        self._own(asyncio.get_running_loop().create_task(self._restart(name, loop), name=name))

    async def close(self) -> None:
        """Cancel what still runs and wait until all of it has ended."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _own(self, task: asyncio.Task[None]) -> None:
        self._running[task] = None
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)

    async def _guard(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self.crashes += 1
            _log.error("background task crashed", task=name, error=error)

    async def _restart(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        attempt = 0
        while True:
            started = self._clock.monotonic()
            try:
                await loop()
                _log.warning("background loop ended; starting it again", task=name)
            except Exception as error:
                self.crashes += 1
                _log.error("background loop crashed; starting it again", task=name, error=error)
            attempt = 1 if self._clock.monotonic() - started > self._backoff.longest_s else attempt + 1
            await self._clock.sleep(self._backoff.delay_s(attempt, 1.0))
