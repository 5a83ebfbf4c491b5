"""A session under anything in any order: each send is answered once, and a goodbye is the last word but for answers."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from posthouse.gateway.admission import Admission, Rates
from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.session import Host, Session
from posthouse.gateway.websocket import Frame, Socket
from posthouse.kit.clock import ManualClock
from posthouse.messaging.lane import Lane
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import ClientFrame, Done, Fetch, Hello, List
from posthouse.protocol.phases import Phase
from posthouse.storage.base import Append, Appended, Outcome, Refused

IN_FLIGHT_MAX = 3
NAMES = st.sampled_from(["k1", "k2", "k3", "k4"])
CONVS = st.sampled_from(["x", "y"])


class Pending(NamedTuple):
    """A send that waits for the database."""

    append: Append
    settle: Callable[[Append, Outcome], None]
    lane: Lane
    number: int


class Line:
    """The socket: what was written to it, and the code with which it was closed."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.codes: list[int] = []

    def send(self, frame: Frame) -> None:
        assert not self.codes, "something is written behind the close"
        self.frames.append(json.loads(frame.plain[frame.plain.index(b"{") :]))

    def close(self, code: int, reason: str = "") -> None:
        self.codes.append(code)


class World:
    """The session's host, whose database answers when the machine says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.limits = GatewayLimits(in_flight_max=IN_FLIGHT_MAX)
        rates = Rates(frames_per_connection_burst=10_000, sends_per_user_burst=10_000)
        self.admission = Admission(rates, 0.0)
        self.commit = self
        self.pending: list[Pending] = []
        self.asked: list[int] = []
        self.log: dict[tuple[str, str], int] = {}
        self.vacated = self.forgotten = 0

    def submit(self, append: Append, settle: Any, lane: Lane, number: int, origin: str) -> None:
        self.pending.append(Pending(append, settle, lane, number))

    def enter(self, session: Session, hello: Hello) -> None:
        session.app, session.user, session.device = "acme", "ann", hello.device

    def request(self, session: Session, frame: ClientFrame) -> None:
        assert isinstance(frame, Fetch | List)
        self.asked.append(frame.ref)

    def vacate(self, session: Session) -> None:
        self.vacated += 1

    def forget(self, session: Session) -> None:
        self.forgotten += 1

    def count(self, code: int) -> None:
        pass

    def answered(self, seconds: float) -> None:
        assert seconds >= 0


class Talking(RuleBasedStateMachine):
    """`due` are the sends that must be answered, each as often as it was said."""

    def __init__(self) -> None:
        super().__init__()
        self.world, self.line = World(), Line()
        self.session = Session(cast("Host", self.world), cast("Socket", self.line), 0.0)
        self.due: Counter[str] = Counter()
        self.is_closed = False
        self.steps = 0

    def say(self, **frame: object) -> None:
        self.steps += 1
        self.session.received(json.dumps(frame).encode())

    @property
    def phase(self) -> Phase:
        return self.session.phase

    # What the client does

    @initialize(is_live=st.sampled_from([True, True, True, False]))
    def greet(self, is_live: bool) -> None:
        self.greet_again()
        if is_live:
            self.let_in()

    @precondition(lambda self: self.phase in (Phase.LIVE, Phase.ENDED))
    @rule(
        conv=CONVS,
        names=st.lists(NAMES, min_size=1, max_size=4),
        is_long=st.sampled_from([False, False, True]),
    )
    def send(self, conv: str, names: list[str], is_long: bool) -> None:
        body = {"text": "x" * 40_000} if is_long else {}
        for name in names:
            if self.phase is Phase.LIVE:
                self.due[name] += 1
            self.say(t="send", conv=conv, client_id=name, made_at=1, body=body)

    @precondition(lambda self: self.phase in (Phase.LIVE, Phase.ENDED))
    @rule(ref=st.integers(1, 9), what=st.sampled_from(["fetch", "list", "ping"]))
    def ask(self, ref: int, what: str) -> None:
        asked = len(self.world.asked)
        self.say(t=what, ref=ref, conv="x", after=0)
        assert len(self.world.asked) == asked + (self.phase is Phase.LIVE and what != "ping")

    # What the server does

    @precondition(lambda self: self.phase is Phase.ENTERING)
    @rule()
    def let_in(self) -> None:
        self.session.phase = Phase.LIVE

    @precondition(lambda self: len(self.world.pending) > 1 or self.phase is Phase.ENDED)
    @rule(
        refusals=st.lists(
            st.sampled_from([None, None, Code.UNAVAILABLE, Code.NOT_MEMBER, Code.BUSY]), min_size=1
        )
    )
    def commit(self, refusals: list[Code | None]) -> None:
        """A batch: outcomes are noted in their order, and each is told once all are known."""
        batch, self.world.pending = self.world.pending[: len(refusals)], self.world.pending[len(refusals) :]
        outcomes = [self.outcome(*pair) for pair in zip(batch, refusals, strict=False)]
        for each, outcome in zip(batch, outcomes, strict=True):
            each.settle(each.append, outcome)

    def outcome(self, each: Pending, refusal: Code | None) -> Outcome:
        append, lane, log = each.append, each.lane, self.world.log
        if not lane.admits(append.conv, each.number):
            return Refused(Code.HELD_BACK, "settle the earlier send first")
        if refusal is not None:
            lane.refused(append.conv, append.client_id, each.number, refusal)
            return Refused(refusal, "the machine wants it so")
        lane.settled(append.conv, each.number)
        seq = log.setdefault((append.conv, append.client_id), len(log) + 1)
        return Appended(seq, 1, seq)

    @precondition(lambda self: self.world.asked)
    @rule()
    def answer(self) -> None:
        self.session.send(Done(ref=self.world.asked.pop(0)))

    # How it ends: now and then, or nothing else would ever happen

    @precondition(lambda self: self.steps > 8 and self.world.pending)
    @rule(how=st.sampled_from(["depart", "depart", "greet_again", "babble", "vanish", "end", "overflow"]))
    def finish(self, how: str) -> None:
        getattr(self, how)()
        assert self.is_closed or self.phase is Phase.ENDED

    def greet_again(self) -> None:
        self.say(t="hello", token="a.b.c", device="phone")

    def babble(self) -> None:
        self.session.received(b"no frame")

    def vanish(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.session.closed(1006)

    def end(self) -> None:
        self.session.end(Code.NODE_STOPPING, "the machine wants it so")

    def depart(self) -> None:
        self.session.depart(Code.DRAINING, "go elsewhere", "ws://other/v1/ws")

    def overflow(self) -> None:
        self.session.overflowed()

    @rule(seconds=st.sampled_from([0.1, 5.0]))
    def wait(self, seconds: float) -> None:
        self.world.clock._elapsed += seconds

    # What holds at all times

    @invariant()
    def each_send_is_answered_once_and_none_before_the_database_has(self) -> None:
        answered = Counter(
            f["client_id"] for f in self.line.frames if f["t"] in ("ack", "error") and f.get("client_id")
        )
        waiting = Counter(each.append.client_id for each in self.world.pending)
        assert self.session.in_flight == len(self.world.pending) <= IN_FLIGHT_MAX
        if not self.line.codes and not self.is_closed:
            assert answered + waiting == self.due
        else:
            assert answered <= self.due

    @invariant()
    def an_ack_says_where_the_send_stands_in_the_log(self) -> None:
        for frame in self.line.frames:
            if frame["t"] == "ack":
                assert self.world.log[frame["conv"], frame["client_id"]] == frame["seq"]

    @invariant()
    def a_goodbye_comes_once_with_the_code_of_the_close_and_only_answers_follow_it(self) -> None:
        kinds = [frame["t"] for frame in self.line.frames]
        assert len(self.line.codes) <= 1
        assert kinds.count("goaway") <= 1
        if "goaway" in kinds:
            at = kinds.index("goaway")
            assert self.phase is Phase.ENDED
            assert set(kinds[at + 1 :]) <= {"ack", "error", "done"}
            assert self.line.codes in ([], [self.line.frames[at]["code"]])
        elif not self.is_closed:
            assert self.phase is not Phase.ENDED
            assert not self.line.codes

    @invariant()
    def one_that_departs_closes_once_its_sends_are_answered_and_not_before(self) -> None:
        assert (self.session.departing_since is not None) <= bool(self.world.pending)

    @invariant()
    def its_place_is_given_up_once(self) -> None:
        assert self.world.vacated == self.session.gone
        assert self.world.forgotten == self.is_closed
        assert self.session.gone == bool(self.line.codes or self.is_closed)


TestTalking = Talking.TestCase
TestTalking.settings = settings(max_examples=150, stateful_step_count=40)
