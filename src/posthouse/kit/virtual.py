"""Virtual time for asyncio: an event loop on which waiting costs nothing, because time jumps to the next timer.

Everything that runs on it is deterministic as long as it uses no thread, no socket and no clock of the machine. So a
whole cluster can be run for a virtual hour in a second, and again exactly as it was.
"""

import asyncio
from typing import Any


class Stuck(RuntimeError):
    """Everybody waits, and nothing will ever wake anybody."""


class _Jump:
    """In the place of the selector: instead of waiting, move the time."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        self._loop.elapsed += max(0.0, timeout)
        return []

    def close(self) -> None:
        """Nothing is held."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`loop.time()` is `elapsed`, in seconds from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self._selector = _Jump(self)

    def time(self) -> float:
        return self.elapsed

    def _process_events(self, events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits in a system call."""


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
        await asyncio.sleep(seconds)
