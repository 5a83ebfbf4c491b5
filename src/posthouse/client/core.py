"""The whole client without its socket: frames and time in; frames, orders and events out. Pure; never awaits.

It only joins its parts: connection, timelines, outbox, requests, cursors, conversations. After each call that leaves
`dirty` true, the shell writes `outgoing`, carries out `orders`, and sets its alarm to `due`.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from posthouse.client.connection import LOST_WITHOUT_CODE, Action, Connection, Ending, Event, State
from posthouse.client.endpoints import Address, EndpointList
from posthouse.client.errors import ClientError, SendRefused, Stopped, StoreMismatch, TokenRefused
from posthouse.client.events import Connected, Disconnected, Resumed, SendFailed
from posthouse.client.host import Host, Order, Saved, Sent, Settings
from posthouse.client.outbox import Item, Outbox
from posthouse.client.race import Race
from posthouse.client.requests import Answer, Requests
from posthouse.client.route import Route
from posthouse.client.sync import Sync
from posthouse.client.token import renew_in_s
from posthouse.kit.clock import Clock
from posthouse.model.entry import Entry
from posthouse.protocol.codec import BadFrame, decode_server, encode
from posthouse.protocol.codes import Action as After, Code, action_of
from posthouse.protocol.frames import (
    Ack,
    Conversations,
    CursorsPush,
    Done,
    Entries,
    Error,
    Frame,
    Goaway,
    Heads,
    Hello,
    Ping,
    Pong,
    Push,
    Renew,
    Resume,
    Welcome,
)

REQUESTS_RESERVED = 10
"""Of the session's in-flight limit, how many are kept for requests other than sends."""
RENEW_AGAIN_S = 5.0


SENT_AWAY = (Code.DRAINING, Code.REBALANCED, Code.NODE_STOPPING)
"""Endings by which a node that is well sends its clients elsewhere."""


class Core:
    """One client's state. Every method is called on one thread; none blocks."""

    __slots__ = (
        "_background", "_clock", "_farewell", "_greeted_ms", "_host", "_looking", "_race", "_renew_at", "_token",
        "_uniform", "attempts_total", "clock_offset_ms", "connection", "device", "dirty", "epoch", "error",
        "fresh_token", "last_ending", "orders", "outbox", "outgoing", "requests", "resume_token", "route", "settings",
        "sync", "unknown_frames", "user",
    )  # fmt: skip

    def __init__(
        self,
        settings: Settings,
        addresses: Sequence[Address],
        clock: Clock,
        uniform: Callable[[], float],
        host: Host,
        saved: Saved,
    ) -> None:
        self.settings = settings
        self.user, self.device = saved.user, saved.device
        self.epoch, self.resume_token = saved.epoch, saved.resume_token
        self.clock_offset_ms = saved.clock_offset_ms
        self.route = Route(addresses)
        self.connection = Connection(settings.pace)
        self.requests = Requests()
        self.outbox = Outbox(settings.outbox_messages_max)
        self.sync = Sync(settings, self.requests, clock, host, saved, self._break)
        self.outgoing: list[bytes] = []
        self.orders: list[Order] = []
        self.dirty = False
        self.error: ClientError | None = None
        """Why the client is closed, when nobody closed it."""
        self.last_ending = Ending()
        self.fresh_token = False
        """The next connection needs a token other than the last one."""
        self.attempts_total = 0
        self.unknown_frames = 0
        self._clock = clock
        self._uniform = uniform
        self._host = host
        self._token = ""
        self._background = False
        self._renew_at = inf
        self._farewell: Goaway | Error | None = None
        self._greeted_ms = 0
        self._race: Race | None = None
        self._looking = False

    # The connection

    @property
    def due(self) -> float:
        """When `tick` should be called; seconds on the monotonic clock."""
        if self.connection.state is not State.LIVE:
            race_due = self._race.due if self._race is not None else inf
            return min(self.connection.due, race_due, self.route.look_at)
        return min(
            self.connection.due,
            self.route.look_at,
            self.sync.timelines.due,
            self.sync.seek_at,
            self.outbox.due,
            self.requests.due,
            self.sync.cursors.due,
            self._renew_at,
        )

    def start(self) -> None:
        """Begin to connect."""
        self._step(Event.START)

    def close(self) -> None:
        """End for good. What was not acknowledged stays unsettled; cursors are said once more."""
        if self.connection.state is State.LIVE:
            now = self._clock.monotonic()
            self.sync.say_cursors(now, all_due=True)
            self._write_all(self.requests.take(now))
        self._step(Event.CLOSE)

    def set_out(self, token: str) -> None:
        """There is a token: begin to connect to the endpoints, as `Order.DIAL` will say."""
        if self.connection.state is State.CONNECTING:
            self._token = token
            now = self._clock.monotonic()
            self._race = Race(self.route.candidates(now, self._uniform), now)
            self._dial()

    def dials(self) -> list[str]:
        """The endpoints to begin connecting to."""
        urls = self._race.take() if self._race is not None else []
        self.attempts_total += len(urls)
        return urls

    def dialled(self, url: str) -> bool:
        """A socket stands. True: it is the one to use, and `opened` follows. False: it is not wanted any more."""
        overtaken = self._race.win(url) if self._race is not None else None
        if overtaken is None:
            return False
        now = self._clock.monotonic()
        for slow in overtaken:
            self.route.fail(slow, now, self._uniform())
        self._race = None
        self.route.current = url
        self.orders.append(Order.HANG_UP)
        return True

    def dial_failed(self, url: str, ending: Ending, *, status: int = 0) -> None:
        """No socket came about with one of the endpoints. `status`: it will answer with that again (P-13.6)."""
        race, now = self._race, self._clock.monotonic()
        if race is None:
            return
        self.route.fail(url, now, self._uniform(), final=status > 0)
        race.fail(url, now)
        if not race.over:
            self._dial()
            return
        self._race = None
        if self.route.hopeless():
            self._stop(Stopped(status, ending.reason))
        else:
            self._end(ending, Event.FAILED)

    def learn(self, listed: EndpointList | None) -> None:
        """Which endpoints there are, or None when nobody has said."""
        now = self._clock.monotonic()
        self._looking = False
        found = listed or EndpointList(())
        self.route.learn(found.endpoints, found.ttl_s, now, self._uniform())
        if found.endpoints and self.route.has_other(now):
            self.connection.hurry(now)
        self.dirty = True

    def look(self) -> None:
        """Have somebody asked which endpoints there are, unless that is under way."""
        if self.route.asks and not self._looking:
            self._looking = True
            self.orders.append(Order.LOOK)

    def opened(self) -> None:
        """The socket stands: introduce ourselves."""
        self.fresh_token = False
        self._farewell = None
        self._step(Event.OPENED)

    def failed(self, ending: Ending) -> None:
        """There is no token to connect with."""
        self._end(ending, Event.FAILED, elsewhere=False)

    def lost(self, code: int, reason: str) -> None:
        """The socket is gone; `code` is its close code."""
        farewell = self._farewell
        ending = Ending(code or LOST_WITHOUT_CODE, reason or "the connection was lost")
        if isinstance(farewell, Goaway):
            ending = Ending(farewell.code, farewell.reason, farewell.reconnect_in_ms, farewell.endpoint)
        elif isinstance(farewell, Error):
            ending = Ending(
                code if 4000 <= code < 5000 else farewell.code, farewell.reason, farewell.retry_after_ms
            )
        self._end(ending, Event.LOST)

    def leave(self) -> None:
        """Drop this connection and make a new one at once."""
        if self.connection.state is State.LIVE:
            self._lose_session()
            self.route.prefer(self.route.current)
            self._step(Event.LEAVE)

    def go_background(self, background: bool) -> None:
        """Beat at the background's or foreground's interval. The server learns it from a new connection, resumed."""
        if background != self._background:
            self._background = background
            pace, settings = self.connection.pace, self.settings
            beat_s = settings.background_heartbeat_s if background else settings.pace.heartbeat_s
            self.connection.pace = pace._replace(heartbeat_s=beat_s)
            self.leave()

    def tick(self) -> None:
        """Time has passed."""
        now = self._clock.monotonic()
        self.dirty = True
        event = self.connection.event_due(now)
        if event is Event.SILENT:
            self._end(Ending(reason="the server does not answer"), Event.SILENT)
        elif event is not None:
            self._step(event)
        if now >= self._renew_at:
            self._renew_at = inf
            self.orders.append(Order.RENEW)
        if self._race is not None:
            self._race.advance(now)
            self._dial()
        if now >= self.route.look_at:
            self.route.look_at = inf
            self.look()

    def _dial(self) -> None:
        self.dirty = True
        self.orders.append(Order.DIAL)

    def _step(self, event: Event, wait_s: float = 0.0) -> None:
        now = self._clock.monotonic()
        action = self.connection.step(event, now, wait_s, self._uniform())
        self.dirty = True
        match action:
            case Action.CONNECT:
                self.orders.append(Order.CONNECT)
            case Action.GREET:
                self._write(self._hello())
            case Action.BEAT:
                self._write(Ping())
            case Action.ABANDON:
                self.orders.append(Order.DROP)
            case Action.FINISH:
                self._race = None
                self.route.look_at = inf
                self.orders.append(Order.CLOSE)
            case _:
                pass

    def _end(self, ending: Ending, event: Event, *, elsewhere: bool = True) -> None:
        """The connection, or the attempt at one, has ended. `elsewhere`: it might go better with another endpoint."""
        now = self._clock.monotonic()
        self._lose_session()
        self.last_ending = ending
        after = action_of(ending.code)
        verdict = self.connection.judge(ending, self.settings.token_is_fixed)
        if verdict is Event.FORBIDDEN:
            refused = TokenRefused if after is After.REAUTHENTICATE else Stopped
            self.error = refused(ending.code, ending.reason)
            self._step(Event.FORBIDDEN)
            return
        if after is After.REAUTHENTICATE:
            self.fresh_token = True
        elif after is After.RESET:
            self._forget_session(trust_epoch=ending.code == Code.RESUME_REFUSED)
        if ending.endpoint and not self.route.may_try(ending.endpoint, now):
            ending = ending._replace(endpoint="")  # the server does not know yet that nobody answers there
        self._judge_endpoint(ending, now)
        other = elsewhere and after is not After.REAUTHENTICATE and self.route.has_other(now)
        wait_s = self.connection.wait_s(ending, now, other, self._uniform())
        self._step(event, wait_s)
        self._host.emit(Disconnected(ending.code, ending.reason, wait_s))

    def _judge_endpoint(self, ending: Ending, now: float) -> None:
        """Where to go after an ending, and where not. A race has told of its own failures."""
        route = self.route
        if self.connection.lasted(now):
            route.last()
        if self.connection.state is not State.CONNECTING:
            if action_of(ending.code) is After.REAUTHENTICATE:
                route.prefer(route.current)
            elif ending.code in SENT_AWAY:
                route.leave(route.current)
                route.doubt(now, self._uniform())
            else:
                route.fail(route.current, now, self._uniform())
                route.doubt(now, self._uniform())
        if ending.endpoint:
            route.prefer(ending.endpoint)
        if route.stale(now) or not route.has_other(now):
            self.look()

    def _lose_session(self) -> None:
        self.outgoing.clear()
        self.sync.lose_connection()
        self.outbox.lose_connection()
        self.requests.lose_connection()
        self._renew_at = inf

    def _forget_session(self, trust_epoch: bool) -> None:
        """The server will not resume. Positions stay when only the token was at fault: the epoch guards them."""
        self.resume_token = ""
        if not trust_epoch:
            self.epoch = ""

    def _hello(self) -> Hello:
        positions = self.sync.positions() if self.resume_token and self.epoch else None
        resume = Resume(token=self.resume_token, epoch=self.epoch, positions=positions) if positions else None
        self._greeted_ms = max(self._clock.now_ms(), self._greeted_ms + 1)
        return Hello(
            token=self._token,
            device=self.device,
            at_ms=self._greeted_ms,
            heartbeat_s=self.connection.pace.heartbeat_s,
            sdk=self.settings.sdk,
            resume=resume,
        )

    # What the server says

    def received(self, message: bytes) -> None:
        """One frame came."""
        self.connection.heard = True
        try:
            frame = decode_server(message)
        except BadFrame as error:
            self._break(f"the server sent what is no frame: {error}", Order.REJECT)
            return
        if type(frame) is Push:
            sync = self.sync
            if not sync.timelines.apply(frame.entry):
                self._hold(frame.entry)
            elif sync.touched:
                self.dirty = True
        elif frame is None:
            self.unknown_frames += 1
        else:
            self.dirty = True
            _TAKE[type(frame)](self, frame)

    def _hold(self, entry: Entry) -> None:
        self.sync.timelines.hold(entry, self._clock.monotonic())
        self.dirty = True

    def _break(self, reason: str, order: Order = Order.DROP) -> None:
        if self.connection.state in (State.AUTHENTICATING, State.LIVE):
            self.orders.append(order)
            self._end(Ending(reason=reason), Event.LOST)

    def _take_welcome(self, welcome: Welcome) -> None:
        if self.connection.state is not State.AUTHENTICATING:
            return
        if self.user and welcome.user != self.user:
            text = f"the store or option says user {self.user!r}, the token {welcome.user!r}"
            self._stop(StoreMismatch(text))
            return
        if self.epoch != welcome.epoch or welcome.reset not in (0, Code.RESUME_REFUSED):
            self.sync.reset()
        self._step(Event.WELCOMED)
        self.route.stand(self._clock.monotonic(), self._uniform())
        self._adopt(welcome)
        self.outbox.open(max(1, welcome.limits.in_flight_max - REQUESTS_RESERVED))
        self.requests.open()
        self._host.emit((Resumed if welcome.resumed else Connected)(welcome.node, welcome.session))
        self.sync.open(welcome)

    def _adopt(self, welcome: Welcome) -> None:
        """Take over what the session says."""
        self.user, self.epoch, self.resume_token = welcome.user, welcome.epoch, welcome.resume_token
        self.clock_offset_ms = welcome.at_ms - self._clock.now_ms()
        self._remember()
        self._schedule_renewal()

    def _remember(self) -> None:
        self._host.remember(
            Saved(
                user=self.user,
                device=self.device,
                epoch=self.epoch,
                resume_token=self.resume_token,
                clock_offset_ms=self.clock_offset_ms,
                listed=self.sync.listed,
            )
        )

    def _stop(self, error: ClientError) -> None:
        self.error = error
        self._lose_session()
        self._step(Event.FORBIDDEN)

    def _take_ack(self, ack: Ack) -> None:
        item = self.outbox.ack(ack)
        if item is None:
            return
        self._host.settle(item, Sent(ack.conv, ack.seq, ack.at_ms, ack.ordinal, ack.client_id))
        send = item.send
        entry = Entry(
            conv=send.conv,
            seq=ack.seq,
            kind=send.kind,
            at_ms=ack.at_ms,
            ordinal=ack.ordinal,
            body=send.body,
            sender=self.user,
            device=self.device,
            client_id=send.client_id,
            reply_to=send.reply_to,
            mentions=send.mentions,
        )
        if not self.sync.timelines.apply(entry):
            self._hold(entry)

    def _take_error(self, error: Error) -> None:
        now = self._clock.monotonic()
        if error.client_id:
            item = self.outbox.refuse(error, now, self._uniform())
            if item is not None:
                self._host.settle(item, SendRefused(error.code, error.reason))
                self._host.emit(SendFailed(item.send.conv, error.client_id, error.code, error.reason))
        elif error.ref:
            self.requests.refuse(error, now, self._uniform())
        elif error.code < Code.RATE_LIMITED:
            self._farewell = error

    def _take_goaway(self, goaway: Goaway) -> None:
        self._farewell = goaway

    def _take_answer(self, answer: Answer) -> None:
        listed = self.sync.listed
        self.requests.answer(answer)
        if self.sync.listed and not listed:
            self._remember()

    def _take_heads(self, heads: Heads) -> None:
        self.sync.hear_heads(heads.heads)

    def _take_cursors(self, push: CursorsPush) -> None:
        self.sync.hear_cursors(push)

    def _take_pong(self, pong: Pong) -> None:
        """That it came has been noted."""

    # What the application does

    def post(self, item: Item) -> None:
        """Queue a send whose place was reserved, and which is durable if it must be."""
        self.outbox.add(item)
        self.dirty = True

    def read(self, conv: str, seq: int) -> None:
        """The user has read up to `seq`."""
        self.sync.read(conv, seq)
        self.dirty = True

    def make_room(self) -> None:
        """The application has taken some of its events."""
        self.sync.timelines.make_room()
        self.dirty = True

    def renewed(self, token: str) -> None:
        """The application gave a new token."""
        self._token = token
        self.dirty = True
        if self.connection.state is State.LIVE:
            self.requests.ask(lambda ref: Renew(ref=ref, token=token), _ignore, lasts=False)
            self._schedule_renewal()

    def renewal_failed(self) -> None:
        """The application gave no token: ask again shortly. The server ends the session when the old one expires."""
        self._renew_at = self._clock.monotonic() + RENEW_AGAIN_S
        self.dirty = True

    def _schedule_renewal(self) -> None:
        wait_s = None if self.settings.token_is_fixed else renew_in_s(self._token, self._now_ms())
        self._renew_at = inf if wait_s is None else self._clock.monotonic() + wait_s

    def _now_ms(self) -> int:
        return self._clock.now_ms() + self.clock_offset_ms

    # What goes out

    def flush(self) -> list[bytes]:
        """The messages to write now. Clears `dirty`."""
        self.dirty = False
        if self.connection.state is State.LIVE:
            now = self._clock.monotonic()
            self.sync.work(now)
            self._write_all(self.outbox.take(now))
            self._write_all(self.requests.take(now))
        outgoing, self.outgoing = self.outgoing, []
        return outgoing

    def _write_all(self, frames: Sequence[Frame]) -> None:
        self.outgoing.extend(encode(frame) for frame in frames)

    def _write(self, frame: Frame) -> None:
        self.outgoing.append(encode(frame))


def _ignore(answer: Answer | Error) -> None:
    pass


_TAKE: dict[type, Callable[[Core, Any], None]] = {
    Welcome: Core._take_welcome,
    Ack: Core._take_ack,
    Entries: Core._take_answer,
    Conversations: Core._take_answer,
    Done: Core._take_answer,
    CursorsPush: Core._take_cursors,
    Heads: Core._take_heads,
    Goaway: Core._take_goaway,
    Error: Core._take_error,
    Pong: Core._take_pong,
}
