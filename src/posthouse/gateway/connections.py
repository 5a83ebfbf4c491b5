"""What the connections of one listener share: their limits, their deadlines and their counters.

Belongs to one event loop. A connection is in `open` from its first moment to its last; nothing else keeps it alive.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from posthouse.kit.clock import Clock

COUNTERS = (
    "connections_accepted",
    "connections_refused",  # told 503, because connections_max are open
    "connections_cut",  # dropped without a word, because telling it over TLS would cost too much
    "handshakes_failed",  # of TLS: not finished in time, or not agreed upon
    "heads_too_large",
    "head_timeouts",
    "http_connections",
    "upgrades_bad",
    "origins_refused",
    "subprotocols_refused",
    "upgrades_refused",  # by the `accept` of whoever uses the listener
    "sockets_opened",
    "protocol_violations",
    "binary_messages",
    "invalid_data",
    "messages_too_large",
    "control_floods",
    "overflows",
    "close_timeouts",
    "unread_timeouts",
    "handler_failures",
)

DESCRIPTORS_OWN_MIN, DESCRIPTORS_OWN_MAX = 48, 256
"""Left to what else the node opens, as databases and files: a quarter of all descriptors, within these bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLimits:
    """What a listener and each of its connections may take. What breaks a limit is refused or closed, and counted."""

    message_bytes_max: int = 64 * 1024
    """A client's message, on the wire and inflated; a longer one closes with 1009."""
    fragments_max: int = 1024
    """Frames of one message; more close with 1009."""
    control_frames_per_s_max: int = 20
    """Pings and pongs of one client; more close with 1008."""
    outbox_bytes_max: int = 512 * 1024
    """What waits to be written to one client; more is an overflow."""
    kernel_outbox_bytes: int = 128 * 1024
    """The kernel's send buffer of each connection: what else may wait for a slow reader. 0: the kernel's choice."""
    kernel_inbox_bytes: int = 128 * 1024
    """The kernel's receive buffer of each connection. 0: the kernel's choice."""
    head_bytes_max: int = 16 * 1024
    """The first request's head; a longer one is answered 431."""
    head_timeout_ms: int = 10_000
    """From connecting to the end of that head; a slower one is answered 408. A TLS handshake before has as long."""
    close_timeout_ms: int = 5_000
    """From our close to the peer's; after that the connection is aborted."""
    unread_timeout_ms: int = 60_000
    """How long a peer may leave unread what was written to it; after that the kernel drops the connection."""
    connections_max: int = 15_000
    """Open connections of all kinds; further ones are answered 503."""
    refusals_max: int = 256
    """Connections given time to read their 503; further ones are told it and closed at once."""
    retry_after_ms: int = 5_000
    """What a 503 tells the client to wait."""

    def within(self, descriptors_max: int) -> "SocketLimits":
        """The same, but with connections and refusals that leave the node enough of its descriptors."""
        left = descriptors_max - min(max(descriptors_max // 4, DESCRIPTORS_OWN_MIN), DESCRIPTORS_OWN_MAX)
        refusals_max = max(1, min(self.refusals_max, left // 2))
        return replace(
            self,
            connections_max=max(1, min(self.connections_max, left - refusals_max)),
            refusals_max=refusals_max,
        )


class Connection(Protocol):
    """One TCP connection of the listener, whatever it speaks. It is told of at most one deadline at a time."""

    def shut(self, code: int, reason: str) -> None:
        """End it politely, within `close_timeout_ms`."""

    def expire(self) -> None:
        """End it now: its deadline has passed."""


class Deadlines:
    """Connections that must get somewhere within a fixed time: a dict entry each, and one sweep for all."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_s = timeout_ms / 1000
        self._due: dict[Connection, float] = {}  # in the order of their deadlines, for all have the same time

    def add(self, connection: Connection, now: float) -> None:
        """Set the deadline of a connection that has none yet."""
        self._due.setdefault(connection, now + self._timeout_s)

    def discard(self, connection: Connection) -> None:
        self._due.pop(connection, None)

    def take_expired(self, now: float) -> list[Connection]:
        """Remove and return the connections whose deadline has passed."""
        expired = list(self._until(now))
        for connection in expired:
            del self._due[connection]
        return expired

    def _until(self, now: float) -> Iterator[Connection]:
        for connection, due in self._due.items():
            if due > now:
                return
            yield connection


class Connections:
    """The listener's open connections."""

    def __init__(self, limits: SocketLimits, clock: Clock) -> None:
        self.limits = limits
        self.clock = clock
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.open: set[Connection] = set()
        self._heads = Deadlines(limits.head_timeout_ms)
        self._endings = Deadlines(limits.close_timeout_ms)
        self._emptied = asyncio.Event()

    def count(self, counter: str) -> None:
        self.counts[counter] += 1

    def add(self, connection: Connection) -> None:
        self.open.add(connection)

    def remove(self, connection: Connection, error: Exception | None = None) -> None:
        """The connection is gone, or handed on; `error` is what ended it if it was not closed."""
        if isinstance(error, TimeoutError):
            self.count("unread_timeouts")
        elif error is not None and not isinstance(error, OSError):
            self.count("handler_failures")
        self.forget_deadline(connection)
        self.open.discard(connection)
        if not self.open:
            self._emptied.set()

    def expect_head(self, connection: Connection) -> None:
        self._heads.add(connection, self.clock.monotonic())

    def expect_end(self, connection: Connection) -> None:
        """The connection is ending: it expires unless it is removed within `close_timeout_ms`."""
        self._heads.discard(connection)
        self._endings.add(connection, self.clock.monotonic())

    def forget_deadline(self, connection: Connection) -> None:
        self._heads.discard(connection)
        self._endings.discard(connection)

    def sweep(self) -> None:
        """Expire what is late."""
        now = self.clock.monotonic()
        for connection in (*self._heads.take_expired(now), *self._endings.take_expired(now)):
            connection.expire()

    async def sweep_forever(self) -> None:
        """Nobody is late by more than a quarter of the shorter timeout."""
        period_s = min(self.limits.head_timeout_ms, self.limits.close_timeout_ms) / 4000
        while True:
            await self.clock.sleep(period_s)
            self.sweep()

    async def wait_empty(self) -> None:
        while self.open:
            self._emptied.clear()
            await self._emptied.wait()
