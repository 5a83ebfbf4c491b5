"""Sends keep their order within a conversation, and each is settled once, whatever the server answers."""

from itertools import pairwise
from math import inf
from typing import Any

import pytest
from hypothesis import given, strategies as st

from posthouse.client.errors import OutboxFull
from posthouse.client.outbox import Item, Outbox, item_of
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Ack, Error, Send


def item(conv: str, name: str) -> Item:
    return item_of(conv, name, 0, b"{}", "message", 0, ())


def outbox(*names: str, conv: str = "room", in_flight_max: int = 10) -> Outbox:
    box = Outbox(messages_max=1_000)
    box.open(in_flight_max)
    for name in names:
        box.reserve()
        box.add(item(conv, name))
    return box


def names(sends: list[Send]) -> list[str]:
    return [send.client_id for send in sends]


def ack(name: str, conv: str = "room") -> Ack:
    return Ack(conv=conv, client_id=name, seq=1, at_ms=0, ordinal=1)


def error(name: str, code: int, **more: Any) -> Error:
    return Error(code=code, reason="no", conv="room", client_id=name, **more)


def test_sends_go_out_together_up_to_the_limit_and_the_next_when_one_is_settled() -> None:
    box = outbox("a", "b", "c", in_flight_max=2)
    assert names(box.take(0.0)) == ["a", "b"]
    assert box.due == inf
    assert box.ack(ack("a")) is not None
    assert names(box.take(0.0)) == ["c"]


def test_a_second_ack_settles_nothing() -> None:
    box = outbox("a")
    box.take(0.0)
    assert box.ack(ack("a")) is not None
    assert box.ack(ack("a")) is None


def test_a_final_refusal_settles_one_send_and_the_others_go_on() -> None:
    """P-8.9."""
    box = outbox("a", "b")
    box.take(0.0)
    refused = box.refuse(error("a", Code.NOT_MEMBER), 0.0, 0.5)
    assert refused is not None
    assert refused.send.client_id == "a"
    assert box.ack(ack("b")) is not None
    assert len(box) == 0


def test_after_a_refusal_for_now_the_first_send_goes_alone_and_the_others_follow_it() -> None:
    """P-8.9, P-8.10."""
    box = outbox("a", "b", "c")
    box.take(0.0)
    assert box.refuse(error("a", Code.UNAVAILABLE, retry_after_ms=1000), 0.0, 0.5) is None
    assert box.take(5.0) == []  # b and c are still on their way
    box.refuse(error("b", Code.HELD_BACK), 0.0, 0.5)
    box.refuse(error("c", Code.HELD_BACK), 0.0, 0.5)
    assert box.take(0.5) == []
    assert box.due == 1.0
    assert names(box.take(1.0)) == ["a"]
    assert box.take(2.0) == []
    box.ack(ack("a"))
    assert names(box.take(2.0)) == ["b", "c"]


def test_a_send_before_the_refused_one_that_is_acknowledged_late_does_not_unblock() -> None:
    box = outbox("a", "b", "c")
    box.take(0.0)
    box.refuse(error("b", Code.UNAVAILABLE, retry_after_ms=1000), 0.0, 0.5)
    box.ack(ack("a"))
    assert box.take(2.0) == []
    box.refuse(error("c", Code.HELD_BACK), 0.0, 0.5)
    assert box.take(0.9) == []
    assert names(box.take(1.0)) == ["b"]


def test_other_conversations_go_on_while_one_waits() -> None:
    box = outbox("a")
    box.take(0.0)
    box.refuse(error("a", Code.UNAVAILABLE, retry_after_ms=1000), 0.0, 0.5)
    box.reserve()
    box.add(item("other", "x"))
    assert names(box.take(0.0)) == ["x"]


def test_a_rate_limit_pauses_every_conversation() -> None:
    box = outbox("a")
    box.take(0.0)
    box.refuse(error("a", Code.RATE_LIMITED, retry_after_ms=1000), 0.0, 0.5)
    box.reserve()
    box.add(item("other", "x"))
    assert box.take(0.9) == []
    assert box.due == 1.0
    assert sorted(names(box.take(1.0))) == ["a", "x"]


def test_a_server_that_has_too_much_to_do_is_given_less_at_once_and_then_a_little_more() -> None:
    box = outbox(*map(str, range(100)), in_flight_max=8)
    first = names(box.take(0.0))
    for name in first:
        box.refuse(error(name, Code.RATE_LIMITED, retry_after_ms=1000), 0.0, 0.1)
    now, most = 0.0, 0
    for _ in range(30):
        now += 2.0
        sends = names(box.take(now))
        most = max(most, len(sends))
        for name in sends:
            box.ack(ack(name))
        if most < 5:
            assert len(sends) <= 5
    assert most == 8


def test_what_gathered_behind_a_refusal_for_now_goes_out_a_few_more_each_round() -> None:
    """P-8.10. Else all clients would send it in the moment in which their database is back."""
    box = outbox(*map(str, range(40)), in_flight_max=40)
    for name in names(box.take(0.0)):
        box.refuse(error(name, Code.UNAVAILABLE if name == "0" else Code.HELD_BACK), 0.0, 0.5)
    rounds: list[list[str]] = []
    while len(box):
        rounds.append(names(box.take(40.0)))
        assert rounds[-1], "what is left never goes out"
        for name in rounds[-1]:
            box.ack(ack(name))
    assert [name for names in rounds for name in names] == list(map(str, range(40)))
    assert len(rounds[0]) == 1
    assert all(len(after) <= len(before) + 1 for before, after in pairwise(rounds))
    assert len(rounds) < 12
    box.reserve()
    box.add(item("room", "later"))
    assert names(box.take(41.0)) == ["later"]


def test_a_conversation_that_starts_slowly_keeps_no_other_waiting() -> None:
    box = outbox("a", "b", in_flight_max=40)
    for name in names(box.take(0.0)):
        box.refuse(error(name, Code.UNAVAILABLE if name == "a" else Code.HELD_BACK), 0.0, 0.5)
    for name in "xyz":
        box.reserve()
        box.add(item("other", name))
    assert sorted(names(box.take(40.0))) == ["a", "x", "y", "z"]


def test_after_a_lost_connection_everything_unsettled_goes_out_again_in_order() -> None:
    """P-8.9, P-8.11."""
    box = outbox("a", "b", "c", in_flight_max=2)
    box.take(0.0)
    box.lose_connection()
    assert box.take(0.0) == []
    assert box.due == inf
    box.open(10)
    assert names(box.take(0.0)) == ["a", "b", "c"]


def test_a_full_outbox_refuses_and_a_settled_send_makes_room() -> None:
    box = Outbox(messages_max=1)
    box.open(10)
    box.reserve()
    box.add(item("room", "a"))
    with pytest.raises(OutboxFull):
        box.reserve()
    box.take(0.0)
    box.ack(ack("a"))
    box.reserve()


class Server:
    """What a server must do with one session's sends: commit in order, hold back after a refusal for now."""

    def __init__(self) -> None:
        self.log: dict[str, list[str]] = {"x": [], "y": []}
        self.refused: list[str] = []
        self.blocked: dict[str, str] = {}
        self.inbound: list[Send] = []
        self.outbound: list[Ack | Error] = []

    def work(self, luck: int) -> None:
        """Handle the next send, well or badly."""
        if not self.inbound:
            return
        send = self.inbound.pop(0)
        conv, name = send.conv, send.client_id
        if self.blocked.get(conv, name) != name:
            self.outbound.append(Error(code=Code.HELD_BACK, reason="", conv=conv, client_id=name))
        elif name in self.log[conv] or luck > 3:
            self.blocked.pop(conv, None)
            if name not in self.log[conv]:
                self.log[conv].append(name)
            self.outbound.append(Ack(conv=conv, client_id=name, seq=1, at_ms=0, ordinal=1))
        elif luck == 0:
            self.blocked.pop(conv, None)
            self.refused.append(name)
            self.outbound.append(Error(code=Code.INVALID_CONTENT, reason="", conv=conv, client_id=name))
        else:
            if luck == 1:  # in doubt: it is in the log all the same
                self.log[conv].append(name)
            self.blocked[conv] = name
            code = Code.RATE_LIMITED if luck == 2 else Code.UNAVAILABLE
            self.outbound.append(Error(code=code, reason="", conv=conv, client_id=name, retry_after_ms=10))

    def reconnect(self) -> None:
        self.blocked.clear()
        self.inbound.clear()
        self.outbound.clear()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.integers(0, 1)),
        st.tuples(st.just("serve"), st.integers(0, 9)),
        st.tuples(st.just("answer"), st.integers(1, 4)),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.just("reconnect"), st.just(0)),
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 5))
def test_any_refusals_and_reconnects_leave_each_send_in_the_log_once_in_order_or_refused(
    steps: list[tuple[str, int]], in_flight_max: int
) -> None:
    box, server, now = outbox(in_flight_max=in_flight_max), Server(), 0.0
    posted: dict[str, list[str]] = {"x": [], "y": []}
    settled: list[str] = []

    def answer() -> None:
        if server.outbound:
            said = server.outbound.pop(0)
            done = box.ack(said) if isinstance(said, Ack) else box.refuse(said, now, 0.5)
            if done is not None:
                settled.append(done.send.client_id)

    for what, number in steps:
        if what == "post":
            conv = "xy"[number]
            name = f"{conv}{len(posted[conv])}"
            posted[conv].append(name)
            box.reserve()
            box.add(item(conv, name))
        elif what == "serve":
            server.work(number)
        elif what == "answer":
            answer()
        elif what == "wait":
            now += number / 10
        else:
            server.reconnect()
            box.lose_connection()
            box.open(in_flight_max)
        server.inbound += box.take(now)
        assert box.in_flight <= in_flight_max
    for _ in range(500):
        now += 40.0
        server.inbound += box.take(now)
        server.work(9)
        answer()
    for conv, all_posted in posted.items():
        kept = [name for name in all_posted if name not in server.refused or name in server.log[conv]]
        assert server.log[conv] == kept
    assert sorted(settled) == sorted(posted["x"] + posted["y"])
    assert len(box) == box.reserved == 0
