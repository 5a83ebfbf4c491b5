"""One attempt to connect: endpoints tried one after the other, each with a head start; the first to open wins. Pure.

The same idea as "happy eyeballs" (RFC 8305): an endpoint that refuses is followed by the next at once, one that does
not answer by the next after a moment. Only the winner is greeted, so there is one session.
"""

from collections import deque
from collections.abc import Sequence
from math import inf

HEAD_START_S = 0.3
"""Before the second endpoint; each further one waits twice as long, so that a slow network is not flooded."""
RUNNING_MAX = 3
"""Endpoints tried at the same moment."""


class Race:
    """`take` names the endpoints to begin with; the caller says how each went, and calls `advance` when it is `due`."""

    __slots__ = ("_head_start_s", "_next_at", "_running", "_taken", "_waiting")

    def __init__(self, candidates: Sequence[str], now: float) -> None:
        self._waiting = deque(candidates)
        self._running: list[str] = []
        self._taken = 0
        self._head_start_s = HEAD_START_S
        self._next_at = now
        self.advance(now)

    def __repr__(self) -> str:
        return f"<Race running={self._running} waiting={list(self._waiting)}>"

    @property
    def over(self) -> bool:
        """True when all have failed."""
        return not self._running and not self._waiting

    @property
    def due(self) -> float:
        """When `advance` has something to do; seconds on the monotonic clock."""
        return self._next_at if self._waiting and len(self._running) < RUNNING_MAX else inf

    def advance(self, now: float) -> None:
        """Time has passed: begin with the next endpoint if those under way have had their head start."""
        if now >= self.due:
            self._begin(now)

    def take(self) -> list[str]:
        """The endpoints to begin connecting to, each told once."""
        fresh, self._taken = self._running[self._taken :], len(self._running)
        return fresh

    def fail(self, url: str, now: float) -> None:
        """One has failed: the next begins at once."""
        if url in self._running:
            self._taken -= self._running.index(url) < self._taken
            self._running.remove(url)
            if self._waiting and len(self._running) < RUNNING_MAX:
                self._begin(now)

    def win(self, url: str) -> list[str] | None:
        """One is open: returns those that began before it and still have not answered. None: it was given up before."""
        if url not in self._running:
            return None
        overtaken = self._running[: self._running.index(url)]
        self._running.clear()
        self._waiting.clear()
        return overtaken

    def _begin(self, now: float) -> None:
        self._running.append(self._waiting.popleft())
        self._next_at = now + self._head_start_s
        self._head_start_s *= 2
