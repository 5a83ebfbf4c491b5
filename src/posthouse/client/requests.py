"""Requests that are answered by number (`ref`): how many at once, what is asked again, who gets the answer. Pure.

All of them may be repeated without harm. Overflow: `ask` raises `TooManyRequests`.
"""

from collections import deque
from collections.abc import Callable
from math import inf

from posthouse.client.errors import TooManyRequests
from posthouse.kit.backoff import Backoff
from posthouse.protocol.codes import Action, action_of
from posthouse.protocol.frames import Conversations, Done, Entries, Error, Frame

REQUESTS_IN_FLIGHT_MAX = 8
REQUESTS_WAITING_MAX = 256
RETRY = Backoff(first_s=0.2, factor=2.0, longest_s=10.0)

Answer = Entries | Conversations | Done
Settle = Callable[[Answer | Error], None]


class Request:
    """One request until it is answered. `build` makes the frame for a ref. `lasts`: it outlives its connection."""

    __slots__ = ("attempts", "build", "lasts", "ready_at", "settle")

    def __init__(self, build: Callable[[int], Frame], settle: Settle, lasts: bool) -> None:
        self.build = build
        self.settle = settle
        self.lasts = lasts
        self.attempts = 0
        self.ready_at = -inf


class Requests:
    """The numbered requests of one client."""

    __slots__ = ("_delayed", "_in_flight", "_next_ref", "_open", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._delayed: list[Request] = []
        self._in_flight: dict[int, Request] = {}
        self._next_ref = 1
        self._open = False

    def ask(self, build: Callable[[int], Frame], settle: Settle, *, lasts: bool) -> Request:
        """Queue a request; `settle` is called once with the answer or the final refusal, unless it is given up.

        Those that do not last are the client's own: few, never refused a place, and served first.
        """
        request = Request(build, settle, lasts)
        if not lasts:
            self._waiting.appendleft(request)
        elif len(self._waiting) + len(self._delayed) < REQUESTS_WAITING_MAX:
            self._waiting.append(request)
        else:
            raise TooManyRequests(f"{REQUESTS_WAITING_MAX} requests wait already")
        return request

    def give_up(self, request: Request) -> None:
        """Nobody waits for the answer any more."""
        request.settle = _ignore
        if request in self._waiting:
            self._waiting.remove(request)
        elif request in self._delayed:
            self._delayed.remove(request)

    def open(self) -> None:
        """A session stands."""
        self._open = True

    def lose_connection(self) -> None:
        """Ask again in the next session what outlives a connection; forget the rest."""
        self._open = False
        pending = [*self._in_flight.values(), *self._delayed, *self._waiting]
        self._waiting = deque(request for request in pending if request.lasts)
        self._in_flight.clear()
        self._delayed.clear()

    def take(self, now: float) -> list[Frame]:
        """The frames to write now."""
        if not self._open:
            return []
        if self._delayed:
            self._waiting.extend(request for request in self._delayed if request.ready_at <= now)
            self._delayed = [request for request in self._delayed if request.ready_at > now]
        frames = []
        while self._waiting and len(self._in_flight) < REQUESTS_IN_FLIGHT_MAX:
            request = self._waiting.popleft()
            ref, self._next_ref = self._next_ref, self._next_ref + 1
            self._in_flight[ref] = request
            frames.append(request.build(ref))
        return frames

    @property
    def due(self) -> float:
        """When `take` has something to say."""
        if not self._open:
            return inf
        if self._waiting and len(self._in_flight) < REQUESTS_IN_FLIGHT_MAX:
            return -inf
        return min((request.ready_at for request in self._delayed), default=inf)

    def answer(self, answer: Answer) -> None:
        """An answer came; one that nobody asked for is passed over."""
        request = self._in_flight.pop(answer.ref, None)
        if request is not None:
            request.settle(answer)

    def refuse(self, error: Error, now: float, uniform: float) -> None:
        """A request was refused: ask again later if the code says so, otherwise settle it."""
        request = self._in_flight.pop(error.ref, None)
        if request is None:
            return
        if action_of(error.code) is not Action.RETRY:
            request.settle(error)
            return
        request.attempts += 1
        request.ready_at = now + max(error.retry_after_ms / 1000, RETRY.delay_s(request.attempts, uniform))
        self._delayed.append(request)


def _ignore(answer: Answer | Error) -> None:
    pass
