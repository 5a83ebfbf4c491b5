"""The core as a whole: no frame in any order disturbs it, and what it says to the server has the protocol's form."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.client.connection import Ending, State
from posthouse.client.core import Core
from posthouse.client.endpoints import Endpoint, EndpointList, parse_addresses
from posthouse.client.errors import SendRefused
from posthouse.client.events import Disconnected, EntryReceived, Event, MembersJoined
from posthouse.client.host import Order, Saved, Sent, Settings
from posthouse.client.outbox import Item, item_of
from posthouse.kit.clock import ManualClock
from posthouse.protocol.codec import decode_client
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Fetch, Hello, List, Ping

WELCOME = {
    "t": "welcome",
    "session": "s",
    "user": "ann",
    "device": "d",
    "node": "n",
    "at_ms": 5,
    "epoch": "e",
    "resume_token": "r",
    "heartbeat_s": 5,
    "account_head": 0,
    "limits": {"frame_bytes_max": 1, "body_bytes_max": 1, "in_flight_max": 20, "repeat_window_s": 1},
}
NEXT = {"conv": "room", "seq": 1, "kind": "message", "at_ms": 0, "ordinal": 1, "body": {}}


class Host:
    """Writes down what the core tells."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.settled: list[Sent | SendRefused] = []
        self.forgotten = 0

    def emit(self, event: Event) -> bool:
        self.events.append(event)
        return True

    def settle(self, item: Item, outcome: Sent | SendRefused) -> None:
        self.settled.append(outcome)

    def note(self, log: str, seq: int | None) -> None:
        pass

    def forget_positions(self) -> None:
        self.forgotten += 1

    def remember(self, saved: Saved) -> None:
        pass


def live_core(**saved: Any) -> tuple[Core, Host]:
    host = Host()
    known = Saved(device="d", user="ann")._replace(**saved)
    core = Core(Settings(), parse_addresses("ws://a"), ManualClock(), lambda: 0.5, host, known)
    core.start()
    reach(core)
    core.received(msgspec.json.encode(WELCOME))
    return core, host


def reach(core: Core) -> None:
    """A token is there, and the first endpoint answers."""
    core.set_out("token")
    assert core.dialled(core.dials()[0])
    core.opened()


def said(core: Core) -> list[Any]:
    return [decode_client(message) for message in core.flush()]


def test_a_first_session_greets_and_reads_the_list() -> None:
    core, _ = live_core()
    assert core.orders == [Order.CONNECT, Order.DIAL, Order.HANG_UP]
    hello, listing = said(core)
    assert isinstance(hello, Hello)
    assert (hello.token, hello.device, hello.resume) == ("token", "d", None)
    assert isinstance(listing, List)


def test_a_refused_list_drops_the_connection_and_what_is_no_frame_rejects_it() -> None:
    """A refusal is a frame like any other: only what cannot be read is closed with 1002."""
    core, _ = live_core()
    listing = said(core)[1]
    core.received(msgspec.json.encode({"t": "error", "ref": listing.ref, "code": 4004, "reason": "busy"}))
    assert core.orders[-1] is Order.DROP
    core, _ = live_core()
    core.received(b"{")
    assert core.orders[-1] is Order.REJECT


def test_each_hello_of_a_device_says_a_later_time_than_the_one_before() -> None:
    """Also in the same millisecond, and when the device's clock was set back."""
    core, _ = live_core()
    first = said(core)[0]
    core.lost(1006, "")
    core._clock._start_ms -= 60_000  # type: ignore[attr-defined]
    core.tick()
    core._clock._elapsed = core.due  # type: ignore[attr-defined]
    core.tick()
    reach(core)
    second = said(core)[0]
    assert isinstance(second, Hello)
    assert second.at_ms > first.at_ms


def test_a_server_that_falls_silent_is_given_up_within_a_beat_and_three_seconds() -> None:
    """However the beats fall: also when the last answer came just before."""
    core, host = live_core()
    clock = core._clock
    assert isinstance(clock, ManualClock)

    def turn() -> bool:
        clock._elapsed = core.due
        core.tick()
        return any(isinstance(decode_client(message), Ping) for message in core.flush())

    core.flush()
    while not turn():
        pass
    core.received(b'{"t":"pong"}')
    silent_from = clock.monotonic()
    while core.connection.state is State.LIVE:
        turn()
    assert clock.monotonic() - silent_from <= Settings().pace.heartbeat_s + 3.0
    assert isinstance(host.events[-1], Disconnected)


def test_a_repair_that_live_entries_made_needless_leaves_nothing_to_do_at_once() -> None:
    """Told how far a log goes, and given the entry itself in the same read: the alarm must not ring for ever."""
    core, _ = live_core()
    core.sync.timelines.start("room", 0)
    core.flush()
    core.received(msgspec.json.encode({"t": "heads", "heads": {"room": 1}}))
    core.received(msgspec.json.encode({"t": "entry", "entry": NEXT}))
    assert core.sync.timelines.applied("room") == 1
    core.flush()
    assert core.due > core._clock.monotonic()


class Listed:
    """A core whose server lists and logs as told, and whose time passes by itself."""

    def __init__(self, **saved: Any) -> None:
        self.core, self.host = live_core(**saved)
        self.items: list[dict[str, Any]] = []
        self.logs: dict[str, list[dict[str, Any]]] = {"~ann": []}
        self.lists = 0
        self.answer()

    def answer(self) -> None:
        """Answer what is asked, until nothing more is."""
        while frames := said(self.core):
            for frame in frames:
                if isinstance(frame, List):
                    self.lists += 1
                    self.hear(t="conversations", ref=frame.ref, items=self.items)
                elif isinstance(frame, Fetch):
                    page = [entry for entry in self.logs[frame.conv] if entry["seq"] > (frame.after or 0)]
                    head = len(self.logs[frame.conv])
                    self.hear(
                        t="entries", ref=frame.ref, conv=frame.conv, entries=page, head=head,
                        first_seq=1, complete=True,
                    )  # fmt: skip

    def hear(self, **frame: Any) -> None:
        self.core.received(msgspec.json.encode(frame))

    def write(self, log_id: str, kind: str = "message", **body: Any) -> dict[str, Any]:
        log = self.logs.setdefault(log_id, [])
        log.append(NEXT | {"conv": log_id, "seq": len(log) + 1, "kind": kind, "body": body})
        return log[-1]

    def wait(self, seconds: float) -> None:
        clock = self.core._clock
        assert isinstance(clock, ManualClock)
        until = clock.monotonic() + seconds
        while clock.monotonic() < until:
            clock._elapsed = max(clock.monotonic() + 0.01, min(self.core.due, until))
            self.core.tick()
            self.answer()
            self.hear(t="pong")

    def name(self, conv: str, joined_seq: int = 1) -> None:
        self.items.append(
            {
                "conv": conv, "kind": "group", "role": "member", "head": len(self.logs[conv]), "first_seq": 1,
                "joined_seq": joined_seq, "members": 2, "unread": 1,
            }
        )  # fmt: skip

    @property
    def got(self) -> list[tuple[str, int]]:
        events = [event for event in self.host.events if isinstance(event, EntryReceived)]
        return [(event.conv, event.seq) for event in events]


def test_a_conversation_that_the_list_has_missed_is_found_by_listing_again() -> None:
    """P-9.11, P-10.6: it became active between two pages, and all that comes of it is its entries."""
    it = Listed()
    for _ in range(6):
        it.write("room")
    it.hear(t="entry", entry=it.write("room"))
    it.hear(t="heads", heads={"room": 8})
    it.write("room")
    it.name("room")
    it.answer()
    assert it.got == []
    it.wait(20)
    assert it.got == [("room", 7), ("room", 8)], "from the first that was heard of on"
    it.hear(t="entry", entry=it.write("room"))
    assert it.got[2:] == [("room", 9)]
    it.wait(60)
    assert it.lists == 2


def test_a_conversation_that_the_account_log_names_meanwhile_begins_where_it_says() -> None:
    """It is in the list already, and the hint of the joining was lost."""
    it = Listed()
    for _ in range(4):
        it.write("room")
    it.write("room", "member.joined", users=["ann"])
    it.write("room")
    it.hear(t="entry", entry=it.write("room"))
    it.name("room", joined_seq=5)
    it.write("~ann", "conversation.joined", conv="room", joined_seq=5)
    it.logs["room"][:4] = []
    it.wait(20)
    assert it.got == [("room", 5), ("room", 6), ("room", 7)]


def test_a_log_that_nothing_ever_names_is_looked_for_once_each_time_it_is_heard_of() -> None:
    it = Listed()
    for lists in (2, 3):
        it.hear(t="heads", heads={"room": 8})
        it.wait(60)
        assert (it.lists, it.got) == (lists, [])


def test_a_search_that_is_cut_short_is_begun_again_in_the_next_session() -> None:
    it = Listed()
    it.hear(t="entry", entry=it.write("room"))
    it.name("room")
    it.core.flush()
    clock = it.core._clock
    assert isinstance(clock, ManualClock)
    while not any(isinstance(frame, List) for frame in said(it.core)):
        clock._elapsed = max(clock.monotonic() + 0.01, it.core.due)
        it.core.tick()
        it.hear(t="pong")
    it.core.lost(1006, "")
    clock._elapsed = it.core.due
    it.core.tick()
    reach(it.core)
    it.hear(**(WELCOME | {"resumed": True}))
    it.wait(20)
    assert it.got == [("room", 1)]


def test_positions_kept_before_the_first_list_was_complete_are_not_resumed_from() -> None:
    kept = {"epoch": "e", "resume_token": "r", "positions": {"~ann": 3, "room": 1}}
    core, _ = live_core(**kept)
    hello, listing = said(core)
    assert hello.resume is None
    room = {"conv": "room", "kind": "group", "role": "member", "head": 7, "first_seq": 1, "joined_seq": 1}
    core.received(msgspec.json.encode({"t": "conversations", "ref": listing.ref, "items": [room]}))
    assert core.sync.timelines.applied("room") == 7
    core, _ = live_core(**kept, listed=True)
    assert said(core)[0].resume.positions == {"~ann": 3, "room": 1}


def test_positions_are_forgotten_when_the_log_went_back_and_not_when_a_list_was_cut_short() -> None:
    core, host = live_core()
    begun = host.forgotten
    core.lost(1006, "")
    again(core, epoch="e")
    assert host.forgotten == begun
    assert core.sync.timelines.applied("~ann") == 0
    core.lost(1006, "")
    again(core, epoch="after a restore", account_head=7)
    assert host.forgotten == begun + 1
    assert core.sync.timelines.applied("~ann") == 7


def again(core: Core, **welcome: Any) -> None:
    """The next session, which is none resumed."""
    core._clock._elapsed = core.due  # type: ignore[attr-defined]
    core.tick()
    reach(core)
    core.received(msgspec.json.encode(WELCOME | welcome))


def test_the_servers_time_corrects_ours() -> None:
    core, _ = live_core()
    assert core.clock_offset_ms == 5 - 1_700_000_000_000


def test_a_welcome_that_comes_twice_changes_nothing() -> None:
    core, host = live_core()
    before = len(host.events)
    core.received(msgspec.json.encode(WELCOME))
    assert len(host.events) == before
    assert core.connection.state is State.LIVE


def test_what_a_server_says_in_numbers_that_nobody_can_count_with_is_no_frame() -> None:
    core, _ = live_core()
    wait = {"t": "goaway", "code": 4001, "reason": "", "reconnect_in_ms": 10**400}
    core.received(json.dumps(wait).encode())
    assert core.connection.state is State.WAITING
    assert "no frame" in core.last_ending.reason


@pytest.mark.parametrize("conv", [b"5", b'"\xff"'])
def test_an_account_entry_that_cannot_be_read_is_passed_on(conv: bytes) -> None:
    core, host = live_core()
    said(core)
    entry = {
        "conv": "~ann",
        "seq": 1,
        "kind": "conversation.joined",
        "at_ms": 0,
        "ordinal": 0,
        "body": {"conv": 0},
    }
    core.received(
        msgspec.json.encode({"t": "entry", "entry": entry}).replace(b'{"conv":0}', b'{"conv":%s}' % conv)
    )
    assert type(host.events[-1]).__name__ == "EntryReceived"


def test_a_membership_entry_is_told_by_its_type_and_one_that_cannot_be_read_is_passed_on() -> None:
    core, host = live_core()
    core.sync.timelines.start("room", 0)
    for seq, body in enumerate(({"users": ["bob"], "role": "member"}, {"users": "nonsense"}), 1):
        push = {"conv": "room", "seq": seq, "kind": "member.joined", "at_ms": 0, "ordinal": 0, "body": body}
        core.received(msgspec.json.encode({"t": "entry", "entry": push}))
    told = [event for event in host.events if isinstance(event, EntryReceived)]
    assert [(type(event), event.seq) for event in told] == [(MembersJoined, 1), (EntryReceived, 2)]


CONVS = st.sampled_from(["~ann", "room", "=direct", "other", ""])
SMALL = st.integers(-2, 6)
ENTRIES = st.fixed_dictionaries(
    {
        "conv": CONVS,
        "seq": SMALL,
        "kind": st.sampled_from(
            ["message", "conversation.joined", "conversation.left", "member.left", "x.y"]
        ),
        "at_ms": SMALL,
        "ordinal": SMALL,
        "body": st.fixed_dictionaries(
            {}, optional={"conv": CONVS, "joined_seq": SMALL, "left_seq": SMALL, "users": st.just(["ann"])}
        ),
    }
)
SUMMARIES = st.fixed_dictionaries(
    {
        "conv": CONVS,
        "kind": st.just("group"),
        "role": st.just("member"),
        "head": SMALL,
        "first_seq": SMALL,
        "joined_seq": SMALL,
        "left": st.booleans(),
    }
)
CODES = st.sampled_from([*map(int, Code), 0, 1006, 5000])
FRAMES = st.one_of(
    st.fixed_dictionaries({"t": st.just("entry"), "entry": ENTRIES}),
    st.fixed_dictionaries(
        {
            "t": st.just("entries"),
            "ref": SMALL,
            "conv": CONVS,
            "entries": st.lists(ENTRIES, max_size=4),
            "head": SMALL,
            "first_seq": SMALL,
            "complete": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {"t": st.just("conversations"), "ref": SMALL, "items": st.lists(SUMMARIES, max_size=3)}
    ),
    st.fixed_dictionaries({"t": st.just("done"), "ref": SMALL}),
    st.fixed_dictionaries({"t": st.just("heads"), "heads": st.dictionaries(CONVS, SMALL)}),
    st.fixed_dictionaries(
        {"t": st.just("cursors"), "conv": CONVS, "of": st.just([{"user": "ann", "read": 3}])}
    ),
    st.fixed_dictionaries(
        {
            "t": st.just("ack"),
            "conv": CONVS,
            "client_id": st.just("c1"),
            "seq": SMALL,
            "at_ms": SMALL,
            "ordinal": SMALL,
        }
    ),
    st.fixed_dictionaries(
        {"t": st.just("error"), "code": CODES, "reason": st.just("")},
        optional={"ref": SMALL, "client_id": st.just("c1"), "retry_after_ms": SMALL},
    ),
    st.fixed_dictionaries({"t": st.just("goaway"), "code": CODES, "reason": st.just("")}),
    st.just(WELCOME),
    st.just({"t": "pong"}),
)


@given(st.lists(st.one_of(FRAMES, st.floats(0.0, 8.0), st.just("lost")), max_size=40))
def test_no_sequence_of_frames_losses_and_time_disturbs_it(steps: list[Any]) -> None:
    core, _ = live_core()
    clock = core._clock
    assert isinstance(clock, ManualClock)
    core.orders.clear()
    core.sync.timelines.start("room", 0)
    core.outbox.reserve()
    core.post(item_of("room", "c1", 0, b"{}", "message", 0, ()))
    for step in steps:
        if isinstance(step, float):
            clock._elapsed += step
            core.tick()
        elif step == "lost":
            if core.connection.state in (State.LIVE, State.AUTHENTICATING):
                core.lost(1006, "")
        elif core.connection.state in (State.LIVE, State.AUTHENTICATING):
            core.received(msgspec.json.encode(step))
        for message in core.flush():
            frame = decode_client(message)
            assert not isinstance(frame, Fetch) or frame.limit > 0
        for order in core.orders:
            if order is Order.CONNECT:
                reach(core)
        core.orders.clear()
        core.connection.event_due(clock.monotonic())
        assert core.due > clock.monotonic() or core.connection.event_due(clock.monotonic()) or core.dirty


def test_nobody_runs_back_and_forth_between_nodes_that_send_them_to_one_that_is_dead() -> None:
    """P-13.5: two nodes drain and name a third, which has just died; they do not know that yet."""
    host, clock = Host(), ManualClock()
    core = Core(Settings(), parse_addresses("http://a"), clock, lambda: 0.5, host, Saved(device="d"))
    dead = "ws://c/v1/ws"
    core.start()
    core.learn(EndpointList(tuple(Endpoint(f"ws://{name}/v1/ws") for name in "abc")))
    core.set_out("token")
    waits = []
    for _ in range(200):
        core.orders.clear()
        for url in core.dials():
            if url == dead:
                core.dial_failed(url, Ending(reason="refused"))
            elif core.dialled(url):
                core.opened()
                core.received(
                    msgspec.json.encode({"t": "goaway", "code": 4001, "reason": "", "endpoint": dead})
                )
                core.lost(4001, "")
        if core.connection.state is State.WAITING:
            waits.append(core.connection.due - clock.monotonic())
            clock._elapsed = core.connection.due
        else:
            clock._elapsed += 0.3
        core.tick()
        if core.connection.state is State.CONNECTING and Order.CONNECT in core.orders:
            core.set_out("token")
    assert sum(waits) > len(waits) / 2, "as a rule they wait"
