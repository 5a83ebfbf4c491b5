"""One authenticated connection of one device of one user, and what it does with each frame.

A session has no task and no timer of its own: frames come as callbacks, the gateway's sweep looks at the clock, and
only requests that must wait for the database run in a task of their own, `in_flight_max` at once.
"""

from __future__ import annotations

from typing import Protocol

from posthouse.gateway.admission import Admission
from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.websocket import Socket, encode_frame
from posthouse.kit.clock import Clock
from posthouse.kit.limits import TokenBucket
from posthouse.messaging.commits import Commit
from posthouse.messaging.fanout import Room
from posthouse.messaging.lane import Lane
from posthouse.model.content import CLIENT_ID_BYTES_MAX, MENTIONS_MAX, check_body
from posthouse.model.entry import CUSTOM_PREFIX, MESSAGE
from posthouse.model.errors import ModelError
from posthouse.model.ids import INTEGER_MAX, check_id
from posthouse.protocol.codec import BadFrame, decode_client, encode
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Ack, ClientFrame, Error, Frame, Goaway, Hello, Pong, Send
from posthouse.protocol.phases import Phase, Step, step
from posthouse.storage.base import Append, Outcome, Refused

_PONG = encode_frame(encode(Pong()))
FLOOD_HELD_CONVERSATIONS_MAX = 1_000
AHEAD_MS_MAX = 600_000
"""So far ahead a device's clock counts: nobody holds its place for longer by setting one to the far future."""


class Host(Protocol):
    """What a session asks of the gateway that holds it."""

    @property
    def clock(self) -> Clock: ...
    @property
    def limits(self) -> GatewayLimits: ...
    @property
    def admission(self) -> Admission: ...
    @property
    def commit(self) -> Commit: ...

    def count(self, code: int) -> None:
        """Count a refusal or a close."""

    def answered(self, seconds: float) -> None:
        """A send was answered so long after it came."""

    def enter(self, session: Session, hello: Hello) -> None:
        """Begin to let a session in."""

    def request(self, session: Session, frame: ClientFrame) -> None:
        """Begin a request that must wait for the database."""

    def vacate(self, session: Session) -> None:
        """Nothing may be sent to the session any more."""

    def forget(self, session: Session) -> None:
        """Its socket is closed."""


class Session:
    """The handler of one socket. `gone` is True from the moment nothing may be sent to it any more."""

    __slots__ = (
        "_asked_at",
        "_bucket",
        "_farewell",
        "_lane",
        "_sending",
        "app",
        "came_from",
        "device",
        "expires_s",
        "gone",
        "heartbeat_s",
        "hello_ms",
        "host",
        "id",
        "in_flight",
        "last_seen",
        "opened",
        "phase",
        "rooms",
        "socket",
        "user",
    )

    def __init__(self, host: Host, socket: Socket, now: float) -> None:
        self.host = host
        self.socket = socket
        self.phase = Phase.NEW
        self.gone = False
        self.app = self.user = self.device = self.id = ""
        self.came_from = ""
        """The node that the session resumes from, when it was another one."""
        self.heartbeat_s = 0
        self.hello_ms = 0
        """By the device's own clock; 0: it did not say."""
        self.expires_s = 0.0
        self.opened = self.last_seen = now
        self.in_flight = 0
        self.rooms: list[Room[Session]] = []
        self._asked_at = 0.0
        """When the send came whose answer is timed: one at a time, so that a pipeline costs nothing."""
        self._farewell: tuple[Code, str, float] | None = None
        """Code and reason of one that departs, and since when."""
        self._sending = 0
        self._lane: Lane | None = None
        self._bucket: TokenBucket | None = None

    def __repr__(self) -> str:
        return f"<Session {self.id or 'unnamed'} {self.app}/{self.user}/{self.device} {self.phase.value}>"

    # What the socket calls ------------------------------------------------------------------------------------

    def received(self, message: bytes) -> None:
        """One text message from the client."""
        now = self.host.clock.monotonic()
        if self.is_silent(now):  # it comes too late: its client has left, and may have said more elsewhere
            self.end(Code.HEARTBEAT_MISSED, "nothing came for twice the heartbeat interval")
            return
        self.last_seen = now
        if self._bucket is None:
            self._bucket = self.host.admission.frame_bucket(now)
        if not self._bucket.take(now):
            self.end(Code.CONNECTION_RATE, "more frames than a connection may send", 1_000)
            return
        try:
            frame = decode_client(message)
        except BadFrame as error:
            self.end(Code.BAD_FRAME, str(error))
            return
        self._step(frame)

    def overflowed(self) -> None:
        """The client reads slower than entries come: disconnect, it catches up from the log (G7)."""
        self.end(Code.SLOW_READER, "the client did not read as fast as entries came")

    def closed(self, code: int) -> None:
        """The socket is closed, whoever did it."""
        self._farewell = None
        self._leave()
        self.host.forget(self)

    # What the gateway calls -----------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Write one frame, unless the session has ended."""
        self.write(encode(frame))

    def write(self, message: bytes) -> None:
        """Write one frame that is encoded already, unless the session has ended."""
        if not self.gone:
            self.socket.send(encode_frame(message))

    def end(self, code: Code, reason: str, reconnect_in_ms: int = 0, endpoint: str = "") -> None:
        """Say why, and where to go if that matters, and close."""
        if self.phase is not Phase.ENDED:
            self.host.count(code)
            self.send(Goaway(code=code, reason=reason, reconnect_in_ms=reconnect_in_ms, endpoint=endpoint))
            self._leave()
            self.socket.close(code, reason)
        elif self._farewell is not None:
            self._hang_up()

    def depart(self, code: Code, reason: str, endpoint: str) -> None:
        """Say where to go, take no more frames, and close once the sends in flight are answered: until then entries and
        answers still go out. What else the client has asked, and what it asks meanwhile, it repeats elsewhere."""
        if self.phase is Phase.ENDED:
            return
        self.host.count(code)
        self.send(Goaway(code=code, reason=reason, endpoint=endpoint))
        self.phase = Phase.ENDED
        self._farewell = code, reason, self.host.clock.monotonic()
        if not self._sending:
            self._hang_up()

    def is_silent(self, now: float) -> bool:
        """True when nothing has come for longer than a client may be silent (P-6.2)."""
        return self.phase is Phase.LIVE and now - self.last_seen > 2 * self.heartbeat_s + 1

    @property
    def departing_since(self) -> float | None:
        """When it was told where to go, until its sends in flight are answered; else None."""
        return self._farewell[2] if self._farewell is not None else None

    def refuse(self, code: Code, reason: str, *, ref: int = 0, retry_after_ms: int = 0) -> None:
        """Answer one request with a refusal."""
        self.host.count(code)
        self.send(Error(code=code, reason=reason, ref=ref, retry_after_ms=retry_after_ms))

    # Frames ---------------------------------------------------------------------------------------------------

    def _step(self, frame: ClientFrame) -> None:
        allowed = step(self.phase, frame)
        if allowed is None:
            self.end(
                Code.FRAME_OUT_OF_ORDER, f"this frame is not allowed while the session is {self.phase.value}"
            )
            return
        what, self.phase = allowed
        if what is Step.SEND:
            assert isinstance(frame, Send)
            self._send(frame)
        elif what is Step.PONG:
            self.socket.send(_PONG)
        elif what is Step.ENTER:
            assert isinstance(frame, Hello)
            self.hello_ms = max(0, min(frame.at_ms, self.host.clock.now_ms() + AHEAD_MS_MAX))
            self.host.enter(self, frame)
        elif what is not Step.IGNORE:
            self.host.request(self, frame)

    def _send(self, frame: Send) -> None:
        lane = self._lane
        if lane is None:
            lane = self._lane = Lane()
        number = lane.enter(frame.conv, frame.client_id)
        if not number:
            self._answer_send(
                frame.conv, frame.client_id, Refused(Code.HELD_BACK, "settle the earlier send first")
            )
            return
        refused, retry_after_ms = self._check(frame), 0
        if refused is None:
            wait_s = self.host.admission.send_wait_s(self.app, self.user, self.last_seen)
            if wait_s > 0.0:
                refused = Refused(Code.RATE_LIMITED, "more sends than this user or application may make")
                retry_after_ms = round(wait_s * 1000) + 1
        if refused is None:
            if not self._sending:
                self._asked_at = self.last_seen
            self.in_flight += 1
            self._sending += 1
            self.host.commit.submit(self._append(frame), self._outcome, lane, number, self.id)
            return
        lane.turned_away(frame.conv, frame.client_id, number, refused.code)
        self._answer_send(frame.conv, frame.client_id, refused, retry_after_ms)

    def _check(self, frame: Send) -> Refused | None:
        """What is wrong with the send itself, before any database is asked. Its ids first: a lane may keep them."""
        try:
            check_id(frame.conv, "conversation")
            check_id(frame.client_id, "client")
            for user in frame.mentions:
                check_id(user, "mentioned user")
            check_body(frame.body)
        except ModelError as error:
            return Refused(Code.INVALID_CONTENT, str(error))
        if len(frame.client_id.encode()) > CLIENT_ID_BYTES_MAX or len(frame.mentions) > MENTIONS_MAX:
            return Refused(Code.INVALID_CONTENT, "client_id is too long or there are too many mentions")
        if not 0 < frame.made_at <= INTEGER_MAX or not 0 <= frame.reply_to <= INTEGER_MAX:
            return Refused(Code.INVALID_CONTENT, "made_at or reply_to is out of range")
        if frame.kind != MESSAGE and not (frame.kind.startswith(CUSTOM_PREFIX) and len(frame.kind) <= 64):
            return Refused(Code.UNKNOWN_KIND, "clients write `message` and kinds that begin with `x.`")
        if self.in_flight >= self.host.limits.in_flight_max:
            return Refused(Code.IN_FLIGHT_LIMIT, "too many unanswered requests")
        return None

    def _append(self, frame: Send) -> Append:
        return Append(
            app=self.app,
            conv=frame.conv,
            kind=frame.kind,
            client_id=frame.client_id,
            made_at_ms=frame.made_at,
            body=bytes(frame.body),
            sender=self.user,
            device=self.device,
            reply_to=frame.reply_to,
            mentions=frame.mentions,
        )

    def _outcome(self, append: Append, outcome: Outcome) -> None:
        self.in_flight -= 1
        self._sending -= 1
        if self._asked_at:
            self.host.answered(self.host.clock.monotonic() - self._asked_at)
            self._asked_at = 0.0
        self._answer_send(append.conv, append.client_id, outcome)
        if self._farewell is not None and not self._sending:
            self._hang_up()

    def _answer_send(self, conv: str, client_id: str, outcome: Outcome, retry_after_ms: int = 0) -> None:
        if isinstance(outcome, Refused):
            self.host.count(outcome.code)
            self.send(
                Error(
                    code=outcome.code,
                    reason=outcome.reason,
                    conv=conv,
                    client_id=client_id,
                    retry_after_ms=retry_after_ms or self.host.limits.retry_after_ms(outcome.code),
                )
            )
            if self._lane is not None and len(self._lane) > FLOOD_HELD_CONVERSATIONS_MAX:
                self.end(Code.FLOOD, "sends were refused in too many conversations and never repeated")
        else:
            seq, at_ms, ordinal = outcome[:3]
            self.send(Ack(conv=conv, client_id=client_id, seq=seq, at_ms=at_ms, ordinal=ordinal))

    def _hang_up(self) -> None:
        assert self._farewell is not None
        (code, reason, _), self._farewell = self._farewell, None
        self._leave()
        self.socket.close(code, reason)

    def _leave(self) -> None:
        """Nothing more is delivered here; the rooms tidy their lists by themselves."""
        self.phase = Phase.ENDED
        if not self.gone:
            self.gone = True
            self.host.vacate(self)
