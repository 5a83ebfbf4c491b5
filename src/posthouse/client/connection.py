"""The life of a client's connection as a table, `(state, event) → (action, next state)`. Pure.

A missing pair is an error. The caller carries out the action and tells the time; `due` says when to call again.
"""

from enum import Enum
from math import inf
from typing import NamedTuple

from posthouse.kit.backoff import Backoff
from posthouse.protocol.codes import Action as After, Code, action_of

LOST_WITHOUT_CODE = 1006
BEAT_SHARE = 0.8
"""Beats come so much sooner than promised: a server that falls silent is noticed sooner, and none is late."""
REAUTHENTICATIONS_MAX = 3
"""Fresh tokens refused in a row before the client gives up."""


class State(Enum):
    """Where a connection stands."""

    NEW = "new"
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    LIVE = "live"
    WAITING = "waiting"
    CLOSED = "closed"


class Event(Enum):
    """What can happen to a connection."""

    START = "start"
    OPENED = "opened"
    FAILED = "failed"
    WELCOMED = "welcomed"
    LOST = "lost"
    FORBIDDEN = "forbidden"
    """Lost or failed, and the server says not to come back."""
    DUE = "due"
    SILENT = "silent"
    """The server has not answered in time."""
    LEAVE = "leave"
    """The client itself wants another connection."""
    CLOSE = "close"


class Action(Enum):
    """What the caller does."""

    CONNECT = "connect"
    GREET = "greet"
    GO_LIVE = "go live"
    BEAT = "beat"
    BACK_OFF = "back off"
    ABANDON = "abandon"
    """Drop the socket, then as `BACK_OFF`."""
    FINISH = "finish"
    NOTHING = "nothing"


TABLE: dict[tuple[State, Event], tuple[Action, State]] = {
    (State.NEW, Event.START): (Action.CONNECT, State.CONNECTING),
    (State.NEW, Event.CLOSE): (Action.FINISH, State.CLOSED),
    (State.CONNECTING, Event.OPENED): (Action.GREET, State.AUTHENTICATING),
    (State.CONNECTING, Event.FAILED): (Action.BACK_OFF, State.WAITING),
    (State.CONNECTING, Event.FORBIDDEN): (Action.FINISH, State.CLOSED),
    (State.CONNECTING, Event.CLOSE): (Action.FINISH, State.CLOSED),
    (State.AUTHENTICATING, Event.WELCOMED): (Action.GO_LIVE, State.LIVE),
    (State.AUTHENTICATING, Event.LOST): (Action.BACK_OFF, State.WAITING),
    (State.AUTHENTICATING, Event.FORBIDDEN): (Action.FINISH, State.CLOSED),
    (State.AUTHENTICATING, Event.SILENT): (Action.ABANDON, State.WAITING),
    (State.AUTHENTICATING, Event.CLOSE): (Action.FINISH, State.CLOSED),
    (State.LIVE, Event.DUE): (Action.BEAT, State.LIVE),
    (State.LIVE, Event.LOST): (Action.BACK_OFF, State.WAITING),
    (State.LIVE, Event.FORBIDDEN): (Action.FINISH, State.CLOSED),
    (State.LIVE, Event.SILENT): (Action.ABANDON, State.WAITING),
    (State.LIVE, Event.LEAVE): (Action.ABANDON, State.WAITING),
    (State.LIVE, Event.CLOSE): (Action.FINISH, State.CLOSED),
    (State.WAITING, Event.DUE): (Action.CONNECT, State.CONNECTING),
    (State.WAITING, Event.CLOSE): (Action.FINISH, State.CLOSED),
    (State.CLOSED, Event.CLOSE): (Action.NOTHING, State.CLOSED),
}


class IllegalStep(Exception):
    """An event came in a state where it cannot: a fault in the caller."""


class Ending(NamedTuple):
    """How a connection, or the attempt at one, ended. `retry_in_ms` and `endpoint` are the server's wish, if any."""

    code: int = LOST_WITHOUT_CODE
    reason: str = ""
    retry_in_ms: int = 0
    endpoint: str = ""


class Pace(NamedTuple):
    """How fast a connection is made, watched and made again; seconds."""

    heartbeat_s: int = 5
    answer_timeout_s: float = 2.5
    """How long a beat may go unanswered, while the intervals are short; with long ones, a sixth of them."""
    reconnect_jitter_s: float = 5.0
    """After a session was lost: the first three attempts are spread evenly over so long, each."""
    first_wait_s: float = 0.5
    """As long as there has been no session yet."""
    wait_max_s: float = 30.0
    welcome_timeout_s: float = 10.0
    settled_s: float = 10.0
    """A session that lasted so long ends the counting of attempts."""

    @property
    def beat_s(self) -> float:
        """From beat to beat: a little less than what the server was told."""
        return self.heartbeat_s * BEAT_SHARE

    @property
    def answer_s(self) -> float:
        """How long a beat may go unanswered: never longer than until the next one."""
        return min(self.beat_s, max(self.answer_timeout_s, self.heartbeat_s / 6))


class Connection:
    """Decides when to connect, beat, give up and come back. Sees no socket and no frame."""

    __slots__ = (
        "_awaiting",
        "_beat_at",
        "_live_since",
        "_told",
        "_was_live",
        "attempts",
        "due",
        "heard",
        "pace",
        "refusals",
        "state",
    )

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.state = State.NEW
        self.due = inf
        self.attempts = 0
        self.refusals = 0
        self.heard = False
        """Set by the caller whenever anything came from the server."""
        self._awaiting = False
        self._beat_at = 0.0
        self._told = False
        self._was_live = False
        self._live_since = 0.0

    def __repr__(self) -> str:
        return f"<Connection {self.state.value} attempts={self.attempts} due={self.due:.1f}>"

    def step(self, event: Event, now: float, wait_s: float = 0.0, uniform: float = 1.0) -> Action:
        """Take `event`; returns what to do. `wait_s`: for events that lead to waiting; `uniform` spreads beats."""
        if (self.state, event) not in TABLE:
            raise IllegalStep(f"{event.value} while {self.state.value}")
        action, self.state = TABLE[self.state, event]
        self.due = self._next_due(action, now, wait_s, uniform)
        return action

    def event_due(self, now: float) -> Event | None:
        """What the time itself brings about, or None when nothing is due. An answered beat makes the next one due."""
        if now < self.due:
            return None
        if self.state is State.AUTHENTICATING or (self._awaiting and not self.heard):
            return Event.SILENT
        if self._awaiting:
            self._awaiting, self.due = False, self._beat_at + self.pace.beat_s
        return Event.DUE if now >= self.due else None

    def lasted(self, now: float) -> bool:
        """True when a session stands, and has stood long enough to be worth something."""
        return self.state is State.LIVE and now - self._live_since >= self.pace.settled_s

    def hurry(self, now: float) -> None:
        """There is somewhere else to go by now: do not wait any longer, unless the server named the time."""
        if self.state is State.WAITING and not self._told:
            self.due = min(self.due, now)

    def wait_s(self, ending: Ending, now: float, other_endpoint: bool, uniform: float) -> float:
        """How long to wait before the next attempt; `uniform` is a random number in [0, 1)."""
        if self.lasted(now):
            self.attempts = 0
        self.attempts += 1
        self._told = ending.retry_in_ms > 0
        if self._told:
            return ending.retry_in_ms / 1000
        if ending.endpoint or other_endpoint:
            return 0.0
        if action_of(ending.code) is After.REAUTHENTICATE and self.attempts == 1:
            return 0.0
        return self._backoff_s(uniform)

    def judge(self, ending: Ending, token_is_fixed: bool) -> Event:
        """Whether the ending is final: `FORBIDDEN` or `LOST`. Counts refusals of the token."""
        after = action_of(ending.code)
        if after is After.STOP:
            return Event.FORBIDDEN
        if after is After.REAUTHENTICATE and ending.code != Code.HELLO_TIMEOUT:
            self.refusals += 1
            if token_is_fixed or self.refusals > REAUTHENTICATIONS_MAX:
                return Event.FORBIDDEN
        return Event.LOST

    def _backoff_s(self, uniform: float) -> float:
        pace = self.pace
        if not self._was_live:
            return Backoff(pace.first_wait_s, 2.0, pace.wait_max_s).delay_s(self.attempts, uniform)
        spread = Backoff(pace.reconnect_jitter_s, 2.0, max(pace.wait_max_s, pace.reconnect_jitter_s))
        return spread.delay_s(max(1, self.attempts - 2), uniform)

    def _next_due(self, action: Action, now: float, wait_s: float, uniform: float) -> float:
        match action:
            case Action.GREET:
                return now + self.pace.welcome_timeout_s
            case Action.GO_LIVE:
                self._was_live, self._live_since, self.refusals = True, now, 0
                self._awaiting = False
                return now + self.pace.beat_s * (0.5 + uniform / 2)
            case Action.BEAT:
                self._awaiting, self.heard, self._beat_at = True, False, now
                return now + self.pace.answer_s
            case Action.BACK_OFF | Action.ABANDON:
                self._awaiting = False
                return now + wait_s
            case _:
                return inf
