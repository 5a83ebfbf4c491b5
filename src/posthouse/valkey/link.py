"""One connection to one server, shared by many tasks: what they send in one turn of the loop goes out in one write,
and answers come back in order. The parser and packer are hiredis, of the Redis project itself.

A server that answers nothing for `answer_timeout_s` while something is asked of it is taken for dead: the link breaks,
and everything that waits fails with it. Nothing is ever asked twice here.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

import hiredis

from posthouse.kit.clock import Clock

Command = tuple[str | bytes | int, ...]
pack = cast("Callable[[Command], bytes]", hiredis.pack_command)  # its stub takes tuples of one part only
Reply = Any
"""What a server answers: bytes, a whole number, None, a list or dict of them, or a `ReplyError`."""


class Unavailable(Exception):
    """What was asked cannot be answered now, or its answer did not come. The message names the server and the cause."""


class Misconfigured(Unavailable):
    """The server answers, and will go on refusing until somebody changes the address or the server."""


class ReplyError(Exception):
    """A server's error as it stands in an answer. `code` is its first word."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class LinkLimits(NamedTuple):
    """Bounds of one connection; beyond `in_flight_bytes_max` a call is refused as `Unavailable` at once."""

    answer_timeout_s: float = 0.25
    connect_timeout_s: float = 1.0
    in_flight_bytes_max: int = 64 << 20


class LinkCounts:
    """What went wrong on all links of a deployment."""

    __slots__ = ("losses", "overflows", "timeouts")

    def __init__(self) -> None:
        self.losses = 0
        self.overflows = 0
        self.timeouts = 0


class _Call:
    __slots__ = ("at", "bytes", "done", "expected", "replies")

    def __init__(self, done: asyncio.Future[list[Reply]], expected: int, size: int, at: float) -> None:
        self.done = done
        self.expected = expected
        self.bytes = size
        self.at = at
        self.replies: list[Reply] = []


_MORE: Final = object()
_ANSWERS_BY_PUSH: Final = (b"ssubscribe", b"subscribe")
_LATE_S: Final = 0.05
"""A timer that fires later than this tells of a loop that was held up: then the server gets one more moment."""


class Link(asyncio.Protocol):
    """Made by `posthouse.valkey.connecting`. `broken` holds the cause once it is."""

    def __init__(
        self,
        name: str,
        limits: LinkLimits,
        clock: Clock,
        on_push: Callable[[list[Any]], None],
        counts: LinkCounts,
    ) -> None:
        self.name = name
        self._counts = counts
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._limits = limits
        self._clock = clock
        self._on_push = on_push
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(replyError=ReplyError, notEnoughData=_MORE)
        self._calls: deque[_Call] = deque()
        self._out: list[bytes] = []
        self._in_flight_bytes = 0
        self._heard_at = 0.0
        self._unwritten_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._spared = False

    def __repr__(self) -> str:
        state = f"broken: {self.broken.result()}" if self.broken.done() else "up"
        return f"<Link to {self.name}, {state}, {len(self._calls)} calls in flight>"

    def call(self, commands: Sequence[Command]) -> asyncio.Future[list[Reply]]:
        """Send the commands now, in this order and behind all that was sent before. The result has one reply for each,
        errors among them as `ReplyError`. Raises `Unavailable`, and so may the future."""
        packed = [*map(pack, commands)]
        size = sum(map(len, packed))
        if self.broken.done():
            raise Unavailable(self.broken.result())
        if self._in_flight_bytes + size > self._limits.in_flight_bytes_max and self._calls:
            self._counts.overflows += 1
            raise Unavailable(f"{self.name} is behind: {self._in_flight_bytes} bytes wait for its answer")
        done: asyncio.Future[list[Reply]] = self._loop.create_future()
        call = _Call(done, len(packed), size, self._clock.monotonic())
        self._calls.append(call)
        self._in_flight_bytes += size
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += packed
        if self._timer is None:
            self._watch(self._limits.answer_timeout_s)
        return done

    async def ask(self, *command: str | bytes | int) -> Reply:
        """The answer to one command. Raises `Unavailable` or `ReplyError`."""
        (reply,) = await self.call([command])
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def close(self, why: str = "the link was closed") -> None:
        """Break it: whatever waits fails with `why`. May be called twice."""
        if self.broken.done():
            return
        self.broken.set_result(why)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._out.clear()
        calls, self._calls = self._calls, deque()
        for call in calls:
            if not call.done.done():
                call.done.set_exception(Unavailable(why))

    # Called by the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def connection_lost(self, error: Exception | None) -> None:
        self.close(f"{self.name} closed the connection" + (f": {error}" if error else ""))

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._clock.monotonic()
        self._spared = False
        self._reader.feed(data)
        while (reply := self._next()) is not _MORE:
            self._take(reply)

    def _next(self) -> Reply:
        """The next reply, or `_MORE`; of a broken link none. A TypeError is of a map whose keys cannot be keys."""
        if self.broken.done():
            return _MORE
        try:
            return self._reader.gets()
        except (hiredis.ProtocolError, TypeError) as error:
            self.close(f"{self.name} does not speak the protocol of Redis: {error}")
            return _MORE

    # Inside -----------------------------------------------------------------------------------------------------------

    def _take(self, reply: Reply) -> None:
        if type(reply) is hiredis.PushNotification and not (reply and reply[0] in _ANSWERS_BY_PUSH):
            if reply:
                self._on_push(reply)
            return
        if not self._calls:  # an error that answers nothing: the server says why it closes
            self.close(f"{self.name} says: {reply}")
            return
        call = self._calls[0]
        call.replies.append(reply)
        if len(call.replies) == call.expected:
            self._calls.popleft()
            self._in_flight_bytes -= call.bytes
            if not call.done.done():
                call.done.set_result(call.replies)

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            self._transport.writelines(self._out)
            self._out = []

    def _watch(self, seconds: float) -> None:
        due = self._clock.monotonic() + seconds
        self._timer = self._loop.call_later(seconds, self._check, due)

    def _check(self, due: float) -> None:
        """The oldest call has had its time, unless the server was heard or took bytes meanwhile."""
        self._timer = None
        if not self._calls:
            return
        now, timeout_s = self._clock.monotonic(), self._limits.answer_timeout_s
        unwritten = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if unwritten < self._unwritten_bytes:
            self._heard_at = now
        self._unwritten_bytes = unwritten
        left_s = max(self._calls[0].at, self._heard_at) + timeout_s - now
        if left_s > 0:
            self._watch(left_s)
        elif (
            now - due > _LATE_S and not self._spared
        ):  # we were late ourselves: its answer may lie there, unread
            self._spared = True
            self._watch(_LATE_S)
        else:
            self._counts.timeouts += 1
            self.close(f"{self.name} has not answered for {round(timeout_s * 1000)} ms")
