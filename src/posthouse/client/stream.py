"""The application's end of the events: one bounded stream and callbacks. Single-threaded, on the event loop.

Callbacks are called by the loop, never from inside the core: all events of one turn in one call of the loop.

Overflow: an entry that finds the stream full is not taken, so that it is fetched again when half of it has been read;
a notice of the moment is dropped and counted.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from posthouse.client.errors import ClientError
from posthouse.client.events import ConversationJoined, ConversationLeft, EntryReceived, Event

KEPT_EVENTS = (EntryReceived, ConversationJoined, ConversationLeft)
Handler = Callable[[Any], None] | Callable[[Any], Awaitable[None]]


class Stream:
    """Takes events from the core and gives them to the application, in order."""

    __slots__ = (
        "_by_type", "_calls", "_closed", "_error", "_handed", "_handlers", "_on_room", "_on_taken", "_pumped",
        "_queue", "_queued", "_read", "_short", "_waiter", "events_max", "notices_dropped",
    )  # fmt: skip

    def __init__(
        self, events_max: int, on_room: Callable[[], None], on_taken: Callable[[Event], None] | None
    ) -> None:
        self.events_max = events_max
        self.notices_dropped = 0
        self._on_room = on_room
        self._on_taken = on_taken
        self._queue: deque[Event] = deque()
        self._queued = True
        self._read = False
        self._handed: Event | None = None
        self._short = False
        self._closed = False
        self._error: ClientError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._handlers: list[tuple[type[Event], Callable[[Any], None]]] = []
        self._pumped: list[tuple[type[Event], Callable[[Any], Awaitable[None]]]] = []
        self._by_type: dict[type[Event], tuple[Callable[[Any], None], ...]] = {}
        self._calls: deque[tuple[Callable[[Any], None], Event]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def pumps(self) -> bool:
        """True when async callbacks were registered, so that `pump` must run."""
        return bool(self._pumped)

    def offer(self, event: Event) -> bool:
        """Take an event, or say that there is no room."""
        kind = type(event)
        if self._queued:
            if len(self._queue) >= self.events_max:
                return self._refuse(event)
            self._queue.append(event)
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        handlers = self._by_type.get(kind)
        for handler in handlers if handlers is not None else self._find_handlers(kind):
            if not self._calls:
                asyncio.get_running_loop().call_soon(self._call)
            self._calls.append((handler, event))
        if not self._queued and self._on_taken is not None:
            self._on_taken(event)
        return True

    def subscribe(self, kind: type[Event], handler: Handler) -> None:
        """Call `handler` with each event of a kind. Coroutine functions are awaited by `pump`, in order."""
        if inspect.iscoroutinefunction(handler):
            if self._read:
                raise ClientError("events() reads the events already: use it, or async callbacks, not both")
            self._pumped.append((kind, handler))
            self._queued = True
            return
        self._handlers.append((kind, handler))  # type: ignore[arg-type]  # it is no coroutine function
        self._by_type.clear()
        self._queued = self._read or bool(self._pumped)
        if not self._queued:
            self._queue.clear()

    def events(self) -> AsyncIterator[Event]:
        """Events in order until the client is closed; then raises the error that closed it, if one did."""
        if self._pumped:
            raise ClientError("async callbacks read the events already: use them, or events(), not both")
        self._read = self._queued = True
        return _Events(self)

    async def take(self) -> Event | None:
        """The next event; the one before it counts as taken. None: the client is closed."""
        self.mark_taken()
        if self._waiter is not None:
            raise ClientError("another task reads the events: there is one stream for one reader")
        while not self._queue:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        event = self._handed = self._queue.popleft()
        self._make_room()
        return event

    def mark_taken(self) -> None:
        """The application is done with the event it was given last."""
        handed, self._handed = self._handed, None
        if handed is not None and self._on_taken is not None:
            self._on_taken(handed)

    async def pump(self) -> None:
        """Await the async callbacks, one event after the other. An error of theirs goes to the loop's handler."""
        while (event := await self.take()) is not None:
            for kind, handler in self._pumped:
                if isinstance(event, kind):
                    (outcome,) = await asyncio.gather(handler(event), return_exceptions=True)
                    if isinstance(outcome, Exception):
                        context = {"message": f"a callback for {kind.__name__} failed", "exception": outcome}
                        asyncio.get_running_loop().call_exception_handler(context)

    def close(self, error: ClientError | None) -> None:
        """Nothing more comes. What is queued can still be read."""
        self._closed = True
        self._error = error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _call(self) -> None:
        """Call back. What a callback raises goes to the loop's handler; the other callbacks are called all the same."""
        calls = self._calls
        try:
            while calls:
                handler, event = calls.popleft()
                handler(event)
        finally:
            if calls:
                asyncio.get_running_loop().call_soon(self._call)

    def _refuse(self, event: Event) -> bool:
        if isinstance(event, KEPT_EVENTS):
            self._short = True
            return False
        self.notices_dropped += 1
        return True

    def _make_room(self) -> None:
        if self._short and len(self._queue) <= self.events_max // 2:
            self._short = False
            self._on_room()

    def _find_handlers(self, kind: type[Event]) -> tuple[Callable[[Any], None], ...]:
        found = self._by_type[kind] = tuple(
            handler for wanted, handler in self._handlers if issubclass(kind, wanted)
        )
        return found


class _Events:
    """What `events()` gives: leaving a loop and beginning another one goes on where the first stopped."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __aiter__(self) -> "_Events":
        return self

    async def __anext__(self) -> Event:
        event = await self._stream.take()
        if event is None:
            raise StopAsyncIteration
        return event
