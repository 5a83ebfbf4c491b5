"""The end-to-end canary: a message that travels the real path every few seconds, to find out whether the node delivers.

Two sessions of a canary user stand on the node's own listener; one sends, the other must be pushed the entry. There is
one canary for each database, in a conversation that lies there. Each is a task of its own; nothing is shared.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from posthouse.health.readiness import Part
from posthouse.health.report import FAILED, OK, SLOW
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import start
from posthouse.protocol.codec import BadFrame, decode_server, encode
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Ack, Error, Frame, Goaway, Hello, Ping, Push, Send, Welcome
from posthouse.storage.base import StorageError

if TYPE_CHECKING:
    from posthouse.client.transport import Transport

_log = logger(__name__)

FAILURES_MAX = 2
"""So many flights in a row must fail before the node is said not to deliver; the second follows at once."""
GRACE_S = 30.0
"""A new canary may take so long until its first message arrives: its membership must spread first."""
FIRST_AFTER_S, RETRY_S = 1.0, 1.0
HEARTBEAT_S = 60
TRIM_EVERY, ENTRIES_KEPT = 100, 100
"""So often the log of a canary is cut back, to so many entries."""


class Nest(NamedTuple):
    """Where a canary lives: a conversation of one user, both in the database that it watches."""

    user: str
    conv: str


class Keeper(Protocol):
    """What a canary needs of its node."""

    def url(self) -> str:
        """Where the node's own listener takes WebSockets."""
        ...

    def tls(self) -> ssl.SSLContext | None:
        """Whom to trust there; None where no TLS is spoken."""
        ...

    def token(self, user: str) -> str:
        """A fresh token for a user of the canaries' app."""
        ...

    def nests(self) -> Mapping[str, Nest]:
        """By the name of each database."""
        ...

    def grounded(self) -> bool:
        """True while none should fly, as when the node drains."""
        ...

    async def furnish(self, nest: Nest) -> None:
        """Make the conversation, if it is not there yet. Raises `StorageError`."""
        ...

    async def trim(self, nest: Nest, first_seq: int) -> None:
        """Drop what is older than that. Raises `StorageError`."""
        ...


class Flight(NamedTuple):
    """How one message fared. `delivered_ms` is from sending to the push; 0 when there was none."""

    state: str
    reason: str
    delivered_ms: float = 0.0


class _Refused(Exception):
    """The node said no, with a code: it is alive, and something else is wrong."""


class _Ended(Exception):
    """The session ended before the answer."""


class _Session:
    """One session of the canary user. Answers are awaited by the send's `client_id`."""

    def __init__(self) -> None:
        self._transport: Transport | None = None
        self._awaited: dict[str, asyncio.Future[int]] = {}
        self._farewell = ""

    @property
    def stands(self) -> bool:
        """True while it can be used."""
        return self._transport is not None and not self._transport.gone

    async def open(self, url: str, tls: ssl.SSLContext | None, token: str, device: str) -> None:
        """Connect and be welcomed. Raises `_Refused`, `_Ended`."""
        from posthouse.client.transport import ConnectFailed, connect  # costs start-up time

        try:
            self._transport = await connect(url, self, tls)
        except ConnectFailed as error:
            raise _Ended(str(error)) from None
        welcomed = self.expect("")
        self.say(Hello(token=token, device=device, heartbeat_s=HEARTBEAT_S, sdk="canary"))
        await welcomed

    def say(self, frame: Frame) -> None:
        """Send a frame."""
        if self._transport is None or self._transport.gone:
            raise _Ended(self._farewell or "the session has ended")
        self._transport.send([encode(frame)])

    def expect(self, client_id: str) -> asyncio.Future[int]:
        """The seq that the answer to this send will name, or the entry's that is pushed."""
        future = self._awaited[client_id] = asyncio.get_running_loop().create_future()
        return future

    def close(self) -> None:
        """Leave. Nothing is awaited any more."""
        for future in self._awaited.values():
            future.cancel()
        self._awaited.clear()
        if self._transport is not None and not self._transport.gone:
            self._transport.close()

    def received(self, message: bytes) -> None:
        try:
            frame = decode_server(message)
        except BadFrame as error:
            self._fail(_Ended(f"a frame could not be read: {error}"))
            return
        match frame:
            case Welcome():
                self._settle("", 0)
            case Ack():
                self._settle(frame.client_id, frame.seq)
            case Push():
                self._settle(frame.entry.client_id, frame.entry.seq)
            case Error():
                self._refuse(frame.client_id, frame.code, frame.reason)
            case Goaway():
                self._farewell = f"{frame.reason} ({frame.code})"
                if frame.code in _NOT_THE_NODES_FAULT:
                    self._fail(_Refused(self._farewell))

    def lost(self, transport: "Transport", code: int, reason: str) -> None:
        self._fail(_Ended(self._farewell or f"the connection was lost ({code} {reason})".replace(" )", ")")))

    def _settle(self, client_id: str, seq: int) -> None:
        future = self._awaited.pop(client_id, None)
        if future is not None and not future.done():
            future.set_result(seq)

    def _refuse(self, client_id: str, code: int, reason: str) -> None:
        future = self._awaited.pop(client_id, None)
        if future is not None and not future.done():
            future.set_exception(_Refused(f"{reason} ({code})"))

    def _fail(self, error: Exception) -> None:
        for future in self._awaited.values():
            if not future.done():
                future.set_exception(error)
        self._awaited.clear()


_NOT_THE_NODES_FAULT = {Code.OVERLOADED, Code.NODE_STOPPING, Code.DRAINING, Code.REBALANCED}


class Canary:
    """The canary of one database."""

    def __init__(
        self, keeper: Keeper, nest: Nest, clock: Clock, name: str, interval_s: float, timeout_s: float
    ) -> None:
        self.nest = nest
        self.flights = 0
        self.failures = 0
        self.last = Flight("", "no canary has flown yet")
        self._keeper = keeper
        self._clock = clock
        self._name = name
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._begun_at = clock.monotonic()
        self._sender, self._hearer = _Session(), _Session()
        self._furnished = False
        self._arrived = False
        self._failed_in_a_row = 0
        self._stage = ""
        self._seq = 0

    def state(self) -> tuple[str, str]:
        """What follows from the last flights, and a sentence; the state is empty while that is not known."""
        if not self._arrived:
            waiting = self._clock.monotonic() - self._begun_at < GRACE_S or not self.last.state
            return "" if waiting else self.last.state, self.last.reason
        if self.last.state == FAILED and self._failed_in_a_row < FAILURES_MAX:
            return OK, f"one flight failed: {self.last.reason}"
        return self.last.state, self.last.reason

    @property
    def sessions(self) -> int:
        """How many of its two sessions stand."""
        return self._sender.stands + self._hearer.stands

    async def run(self) -> None:
        """Fly for ever; after a failure again at once."""
        try:
            while True:
                if self._keeper.grounded():
                    self._land()
                    await self._clock.sleep(RETRY_S)
                    continue
                flight = await self.fly()
                pause_s = self._interval_s if flight.state == OK else min(RETRY_S, self._interval_s)
                await self._clock.sleep(pause_s)
        finally:
            self._land()

    async def fly(self) -> Flight:
        """Send one message and see it arrive."""
        self.flights += 1
        before = self.state()[0]
        self.last = flight = await self._fly()
        if flight.delivered_ms == 0.0:
            self._land()  # also after a refusal, which holds back what the same session sends next
        self.failures += flight.state == FAILED and self._arrived
        self._failed_in_a_row = self._failed_in_a_row + 1 if flight.state == FAILED else 0
        self._arrived = self._arrived or flight.delivered_ms > 0
        if FAILED in (before, self.state()[0]) and before != self.state()[0]:
            _log.warning("the canary's verdict changed", state=flight.state, reason=flight.reason)
        await self._trim()
        return flight

    async def _fly(self) -> Flight:
        self._stage = "no session came about"
        try:
            async with asyncio.timeout(self._timeout_s):
                delivered_ms = await self._deliver()
        except TimeoutError:
            return Flight(FAILED, f"{self._stage} within {self._timeout_s:g} s")
        except _Ended as error:
            return Flight(FAILED, f"{self._stage}: {error}")
        except (_Refused, StorageError) as error:
            return Flight(SLOW, f"the canary is refused: {error}")
        if delivered_ms >= self._timeout_s * 500:
            return Flight(SLOW, f"a message takes {delivered_ms:.0f} ms", delivered_ms)
        return Flight(OK, f"a message takes {delivered_ms:.0f} ms", delivered_ms)

    async def _deliver(self) -> float:
        if not self._furnished:
            await self._keeper.furnish(self.nest)
            self._furnished = True
        for session, device in ((self._hearer, "hearer"), (self._sender, "sender")):
            if not session.stands:
                session.close()
                token = self._keeper.token(self.nest.user)
                await session.open(self._keeper.url(), self._keeper.tls(), token, device)
        client_id = f"{self._name}.{self.flights}"
        acked, heard = self._sender.expect(client_id), self._hearer.expect(client_id)
        began = self._clock.monotonic()
        self._stage = "a message was not acknowledged"
        body, made_at = msgspec.Raw(b'{"text":"canary"}'), self._clock.now_ms()
        self._sender.say(Send(conv=self.nest.conv, client_id=client_id, made_at=made_at, body=body))
        self._hearer.say(Ping())
        try:
            self._seq = await acked
            self._stage = "a message was acknowledged but not delivered"
            await heard
        finally:
            heard.cancel()
        return max(0.001, (self._clock.monotonic() - began) * 1000)

    async def _trim(self) -> None:
        """The log stays short. What cannot be done now is done another time."""
        if self.flights % TRIM_EVERY or self._seq <= ENTRIES_KEPT:
            return
        try:
            await self._keeper.trim(self.nest, self._seq - ENTRIES_KEPT)
        except StorageError as error:
            _log.info("the canary's log was not trimmed", reason=str(error))

    def _land(self) -> None:
        self._sender.close()
        self._hearer.close()
        self._sender, self._hearer = _Session(), _Session()


class Canaries:
    """All canaries of a node: one for each database, as databases come and go. `run` is the loop."""

    def __init__(
        self, keeper: Keeper, clock: Clock, name: str, *, interval_s: float = 5.0, timeout_s: float = 4.0
    ) -> None:
        """`name` makes the names of messages unique: never used by an earlier process."""
        self._keeper = keeper
        self._clock = clock
        self._name = name
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self.flying: dict[str, Canary] = {}

    async def run(self) -> None:
        """Keep one canary for each database."""
        tasks: dict[str, asyncio.Task[None]] = {}
        await self._clock.sleep(min(FIRST_AFTER_S, self._interval_s))
        try:
            while True:
                self._staff(self._keeper.nests(), tasks)
                await self._clock.sleep(self._interval_s)
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _staff(self, nests: Mapping[str, Nest], tasks: dict[str, asyncio.Task[None]]) -> None:
        for name in list(self.flying):
            if nests.get(name) != self.flying[name].nest or tasks[name].done():
                tasks.pop(name).cancel()
                del self.flying[name]
        for name, nest in nests.items():
            if name not in self.flying:
                canary = Canary(
                    self._keeper, nest, self._clock, self._name, self._interval_s, self._timeout_s
                )
                self.flying[name] = canary
                tasks[name] = start(canary.run())

    def parts(self) -> Iterable[Part]:
        """For the node's readiness: failed only when nothing can be delivered in any database."""
        known = {name: found for name, each in self.flying.items() if (found := each.state())[0]}
        if not known:
            return
        failed = [f"{reason} (database {name})" for name, (state, reason) in known.items() if state == FAILED]
        slow = [f"{reason} (database {name})" for name, (state, reason) in known.items() if state == SLOW]
        if len(failed) == len(known):
            yield Part("canary", FAILED, f"nothing is delivered: {'; '.join(failed)}")
        elif failed or slow:
            yield Part("canary", SLOW, "; ".join(failed + slow))
        else:
            yield Part("canary", OK, "messages are delivered")

    @property
    def sessions(self) -> int:
        """How many of the node's sessions are canaries'."""
        return sum(canary.sessions for canary in self.flying.values())

    def statistics(self) -> dict[str, float]:
        """Counts since the start, and how long the slowest last message took."""
        each = self.flying.values()
        return {
            "flights": sum(canary.flights for canary in each),
            "failures": sum(canary.failures for canary in each),
            "delivered_ms": max((canary.last.delivered_ms for canary in each), default=0.0),
        }
