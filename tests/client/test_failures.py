"""The client when connections break, servers refuse, tokens expire, frames are garbage: nothing lost or doubled."""

import asyncio
import base64
import itertools
import json
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest
from websockets.frames import CloseCode

from posthouse.client import (
    CatchUpFailed,
    Client,
    Connected,
    ConversationReset,
    Disconnected,
    Reset,
    Resumed,
    Runtime,
    Stopped,
    TokenRefused,
    transport,
)
from posthouse.client.errors import ClientError
from posthouse.client.transport import Receiver, Transport
from posthouse.kit.clock import ManualClock
from posthouse.protocol.codes import Code
from tests.client.conftest import Clients, core_of, entries, next_event, texts, turn_until, until
from tests.client.scripted import Frame, Link, ScriptedServer, Twist, scripted_server


def jwt(user: str, exp_s: float) -> str:
    """A token as the scripted server reads it, with an end."""
    payload = base64.urlsafe_b64encode(json.dumps({"exp": exp_s}).encode()).decode()
    return f"{user}:.{payload}.x"


def once(kind: str, act: Callable[[Link, Frame], Awaitable[None]]) -> Twist:
    """A twist for the first frame of a kind only."""
    done = False

    async def twist(link: Link, frame: Frame) -> bool:
        nonlocal done
        if done or frame["t"] != kind:
            return False
        done = True
        await act(link, frame)
        return True

    return twist


async def test_a_broken_connection_is_resumed_and_exactly_what_was_missed_is_fetched(
    server: ScriptedServer, clients: Clients
) -> None:
    """P-10.1: the conversations are not listed again."""
    server.add("room", "ann")
    server.add("quiet", "ann")
    client = await clients.open()
    await server.entry("room", "1")
    await server.links[0].cut()
    await server.entry("room", "2")
    await server.entry("room", "3")
    assert await entries(client, 3) == [("room", 1), ("room", 2), ("room", 3)]
    assert server.hellos[1]["resume"] == {
        "token": "resume-me",
        "epoch": "e1",
        "positions": {"~ann": 0, "quiet": 0, "room": 1},
    }
    assert [(frame["conv"], frame["after"]) for frame in server.frames("fetch")] == [("room", 1)]
    assert len(server.frames("list")) == 1


async def test_what_was_not_acknowledged_is_sent_again_under_the_same_name_and_is_in_the_log_once(
    server: ScriptedServer, clients: Clients
) -> None:
    """P-8.3, P-8.4: the server commits, then the connection breaks before the ack."""
    server.add("room", "ann")
    client = await clients.open()

    async def commit_and_break(link: Link, frame: Frame) -> None:
        await server._append(
            "room", "message", frame["body"], "ann", link.device, frame["client_id"], but=link
        )
        await link.cut()

    server.twist = once("send", commit_and_break)
    posted = [client.post("room", str(number)) for number in range(5)]
    assert [(await each.acked).seq for each in posted] == [1, 2, 3, 4, 5]
    assert texts(server.logs["room"]) == ["0", "1", "2", "3", "4"]
    assert await entries(client, 5) == [("room", seq) for seq in range(1, 6)]
    sends = server.frames("send")
    assert sends[0] == next(send for send in sends[1:] if send["client_id"] == sends[0]["client_id"])


async def test_the_client_comes_back_when_the_server_does(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open()
    await server.stop()
    posted = client.post("room", "while it was away")
    lost = await next_event(client, Disconnected)
    assert lost.code == 1006
    await next_event(client, Disconnected)  # the port refuses
    await server.start()
    assert (await posted.acked).seq == 1
    assert client.statistics().connection_attempts >= 3


async def test_a_refused_upgrade_is_tried_again(server: ScriptedServer) -> None:
    """P-13.6: 503 is as resume."""
    clock = ManualClock()
    server.refuse_upgrades = 2
    async with Runtime(clock=clock) as runtime:
        client = Client(server.url, token="ann:1", runtime=runtime)
        await client.start()
        assert "503" in (await next_event(client, Disconnected)).reason
        await turn_until(clock, lambda: client.connected)
        assert client.statistics().connection_attempts == 3
        await client.close()


async def test_a_refused_upgrade_says_when_to_come_back(server: ScriptedServer) -> None:
    """P-13.6: `retry_after_ms` in its body."""
    clock = ManualClock()
    server.refuse_upgrades, server.refuse_saying = 1, '{"reason":"no room","retry_after_ms":20000}'
    async with Runtime(clock=clock) as runtime:
        client = Client(server.url, token="ann:1", runtime=runtime)
        await client.start()
        assert (await next_event(client, Disconnected)).reason.endswith("503 no room")
        await turn_until(clock, lambda: client.connected)
        assert clock.monotonic() >= 20
        await client.close()


@pytest.mark.parametrize("status", [400, 403, 404, 410])
async def test_a_refusal_that_will_not_change_ends_the_client(server: ScriptedServer, status: int) -> None:
    """P-13.6: other 4xx are as stop."""
    server.refuse_upgrades, server.refuse_with = 10, HTTPStatus(status)
    async with Runtime(clock=ManualClock()) as runtime:
        client = Client(server.url, token="ann:1", runtime=runtime)
        await client.start()
        with pytest.raises(Stopped, match=f"refused the connection: {status}"):
            await client.wait_connected()
        assert client.statistics().connection_attempts == 1
        await client.close()


@pytest.mark.parametrize("status", [408, 429])
async def test_a_refusal_for_now_is_tried_again(server: ScriptedServer, status: int) -> None:
    """P-13.6: 408 and 429 are as resume."""
    clock = ManualClock()
    server.refuse_upgrades, server.refuse_with = 1, HTTPStatus(status)
    async with Runtime(clock=clock) as runtime:
        client = Client(server.url, token="ann:1", runtime=runtime)
        await client.start()
        await turn_until(clock, lambda: client.connected)
        await client.close()


async def test_a_server_that_hangs_up_right_after_the_handshake_is_tried_again(
    server: ScriptedServer,
) -> None:
    """The loss may be noticed before the client has its socket: nothing will be heard of it afterwards."""
    clock, lost_early = ManualClock(), [True, True]

    async def connect(url: str, receiver: Receiver, tls: ssl.SSLContext | None) -> Transport:
        socket = await transport.connect(url, receiver, tls)
        if lost_early:
            lost_early.pop()
            socket.abort()
        return socket

    server.slams = 1
    async with Runtime(clock=clock, connect=connect) as runtime:
        client = Client(server.url, token="ann:1", runtime=runtime)
        await client.start()
        await turn_until(clock, lambda: client.connected)
        assert clock.monotonic() < 9.0
        await client.close()


async def test_goaway_says_when_and_where_to_go(server: ScriptedServer, clients: Clients) -> None:
    """P-13.4, P-13.5."""
    async with scripted_server() as other:
        server.add("room", "ann")
        client = await clients.open()
        await server.links[0].end(Code.DRAINING, "maintenance", reconnect_in_ms=30, endpoint=other.url)
        lost = await next_event(client, Disconnected)
        assert (lost.code, lost.reason, lost.retry_in_s) == (Code.DRAINING, "maintenance", 0.03)
        await next_event(client, Resumed)
        assert len(other.hellos) == 1
        assert len(server.hellos) == 1
        await client.close()


async def test_another_endpoint_is_used_at_once_when_one_dies(server: ScriptedServer) -> None:
    """P-13.5."""
    async with scripted_server() as other:
        server.endpoints = [{"url": server.url}, {"url": other.url}]
        async with Client(server.address, token="ann:1", reconnect_jitter_s=30.0) as client:
            first = server if server.hellos else other
            await first.links[0].cut()
            assert (await next_event(client, Disconnected)).retry_in_s == 0.0
            await next_event(client, Resumed)
            assert len(server.hellos) == len(other.hellos) == 1


@pytest.mark.parametrize("code", [Code.REPLACED, Code.BLOCKED, 4399])
async def test_a_code_that_means_stop_ends_the_client_with_the_reason(
    server: ScriptedServer, clients: Clients, code: int
) -> None:
    """P-13.2: also a code without a name."""
    server.add("room", "ann")
    client = await clients.open()
    server.twist = once("send", lambda link, frame: link.end(code, "because"))
    posted = client.post("room", "hello")
    with pytest.raises(Stopped, match="because"):
        await posted.acked
    with pytest.raises(Stopped) as caught:
        async for _ in client.events():
            pass
    assert caught.value.code == code
    with pytest.raises(Stopped):
        client.post("room", "more")
    assert len(server.hellos) == 1


async def test_a_fixed_token_that_is_refused_ends_the_client(
    server: ScriptedServer, clients: Clients
) -> None:
    server.twist = once("hello", lambda link, frame: link.end(Code.TOKEN_EXPIRED, "expired"))
    with pytest.raises(TokenRefused, match="back end"):
        await clients.open()
    assert len(server.frames("hello")) == 1


async def test_a_token_source_is_asked_for_a_new_token_when_one_is_refused(
    server: ScriptedServer, clients: Clients
) -> None:
    numbers = itertools.count(1)

    async def source() -> str:
        return f"ann:{next(numbers)}"

    server.twist = once("hello", lambda link, frame: link.end(Code.TOKEN_EXPIRED, "expired"))
    await clients.open(token=source)
    assert [frame["token"] for frame in server.frames("hello")] == ["ann:1", "ann:2"]


async def test_a_token_source_that_fails_is_asked_again(server: ScriptedServer, clients: Clients) -> None:
    failures = iter([RuntimeError("the back end is down"), None])

    def source() -> str:
        failure = next(failures)
        if failure is not None:
            raise failure
        return "ann:1"

    client = clients.make(token=source)
    await client.start()
    assert "the back end is down" in (await next_event(client, Disconnected)).reason
    await client.wait_connected()


async def test_a_token_is_renewed_before_it_ends(server: ScriptedServer) -> None:
    clock = ManualClock()
    tokens = [jwt("ann", clock.now_ms() / 1000 + 100), jwt("ann", clock.now_ms() / 1000 + 1_000)]
    given = iter(tokens)
    async with (
        Runtime(clock=clock) as runtime,
        Client(server.url, token=lambda: next(given), runtime=runtime, heartbeat_s=300) as client,
    ):
        await clock.advance(79)
        assert server.frames("renew") == []
        await clock.advance(2)
        await server.until(lambda: len(server.frames("renew")) == 1)
        assert server.frames("renew")[0]["token"] == tokens[1]
        assert client.connected


async def test_a_server_that_goes_silent_is_left_within_two_beats(server: ScriptedServer) -> None:
    """P-6.3."""
    clock = ManualClock()
    async with (
        Runtime(clock=clock) as runtime,
        Client(server.url, token="ann:1", runtime=runtime, heartbeat_s=5) as client,
    ):
        connection = core_of(client).connection
        # Asked for its state now and then, the client could hide a loss that is made good at once.
        left: list[tuple[float, str]] = []
        client.on(Disconnected)(lambda event: left.append((clock.monotonic(), event.reason)))
        for beats in (1, 2, 3):
            await turn_until(clock, lambda beats=beats: len(server.frames("ping")) == beats)  # type: ignore[misc]
            await until(lambda: connection.heard)
        assert client.connected
        left.clear()
        server.twist, since = swallow_pings, clock.monotonic()
        await turn_until(clock, lambda: bool(left))
        at, reason = left[0]
        assert at - since < 10.2
        assert "does not answer" in reason


async def swallow_pings(link: Link, frame: Frame) -> bool:
    return bool(frame["t"] == "ping")


async def until_settled() -> None:
    """Let what is on the sockets arrive."""
    for _ in range(5):
        await asyncio.sleep(0.005)


async def test_background_and_foreground_state_their_beat_in_a_new_session(
    server: ScriptedServer, clients: Clients
) -> None:
    """P-6.1."""
    client = await clients.open(heartbeat_s=5, background_heartbeat_s=30)
    client.background()
    await next_event(client, Resumed)
    client.background()
    client.foreground()
    await next_event(client, Resumed)
    assert [hello.get("heartbeat_s", 30) for hello in server.hellos] == [5, 30, 5]


async def test_a_refusal_for_now_keeps_the_order_of_what_follows(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    client = await clients.open()
    refuse = once("send", lambda link, frame: server.refuse(link, frame, Code.UNAVAILABLE, "not now", 20))
    server.twist = refuse
    posted = [client.post("room", str(number)) for number in range(20)]
    assert [(await each.acked).seq for each in posted] == list(range(1, 21))
    assert texts(server.logs["room"]) == [str(number) for number in range(20)]
    assert client.statistics().retries == 1


async def test_a_lost_hint_is_repaired_by_the_next_entry(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open()
    server.muted.add("room")
    await server.entry("room", "1")
    await server.entry("room", "2")
    server.muted.clear()
    await server.entry("room", "3")
    assert await entries(client, 3) == [("room", 1), ("room", 2), ("room", 3)]
    assert client.statistics().gaps == 1


async def test_a_lost_hint_is_repaired_by_a_hint_of_heads(server: ScriptedServer, clients: Clients) -> None:
    """P-9.6."""
    server.add("room", "ann")
    client = await clients.open()
    server.muted.add("room")
    await server.entry("room", "1")
    await server.links[0].say({"t": "heads", "heads": {"room": 1, "unknown": 7}})
    assert await entries(client, 1) == [("room", 1)]


async def test_repeated_and_swapped_pushes_are_delivered_once_in_order(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    client = await clients.open()
    server.muted.add("room")
    for number in range(4):
        await server.entry("room", str(number))
    for index in (1, 0, 0, 3, 1, 2, 3):
        await server.links[0].say({"t": "entry", "entry": server.logs["room"][index]})
    assert await entries(client, 4) == [("room", seq) for seq in range(1, 5)]


@pytest.mark.parametrize(
    "garbage", ["{", "[]", '{"t":"entry"}', '{"t":"ack","seq":"x"}', '{"no":"tag"}', "ü"]
)
async def test_garbage_ends_the_connection_and_the_next_one_goes_on(
    server: ScriptedServer, clients: Clients, garbage: str
) -> None:
    """P-3.10: the client does not go on without the frame."""
    server.add("room", "ann")
    client = await clients.open()
    await server.entry("room", "1")
    broken = server.links[0].socket
    await broken.send(garbage)
    await next_event(client, Resumed)
    await broken.wait_closed()
    assert broken.close_code == CloseCode.PROTOCOL_ERROR
    await server.entry("room", "2")
    assert await entries(client, 1) == [("room", 2)]


async def test_binary_messages_are_passed_over(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open()
    await server.links[0].socket.send(b"\x81\x00")
    await server.entry("room", "1")
    assert await entries(client, 1) == [("room", 1)]


async def test_a_log_that_went_back_in_time_resets_the_client(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    client = await clients.open()
    await server.entry("room", "1")
    await server.entry("room", "2")
    await entries(client, 2)
    server.epoch, server.logs["room"] = "e2", server.logs["room"][:1]
    await server.links[0].cut()
    await next_event(client, Reset)
    await next_event(client, Connected)
    await until(lambda: client.statistics().logs_behind == 0 and len(server.frames("list")) == 2)
    await until_settled()
    await server.entry("room", "other 2")
    assert await entries(client, 1) == [("room", 2)]


async def test_a_resume_token_that_is_refused_costs_the_list_but_no_entry(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    client = await clients.open()
    await server.entry("room", "1")
    refuse = once("hello", lambda link, frame: link.end(Code.RESUME_REFUSED, "expired"))
    server.twist = refuse
    await server.links[0].cut()
    await server.entry("room", "2")
    assert await entries(client, 2) == [("room", 1), ("room", 2)]
    assert "resume" not in server.hellos[1]
    assert len(server.frames("list")) == 2


async def test_a_first_list_that_breaks_off_is_read_again_and_the_client_is_complete(
    server: ScriptedServer, clients: Clients
) -> None:
    for number in range(5):
        server.add(f"room {number}", "ann")
    asked = itertools.count()

    async def break_third(link: Link, frame: Frame) -> bool:
        if frame["t"] == "list" and next(asked) == 2:
            await link.cut()
            return True
        return False

    server.twist = break_third
    client = await clients.open()
    for number in range(5):
        await server.entry(f"room {number}", "hi")
    assert sorted(await entries(client, 5)) == [(f"room {number}", 1) for number in range(5)]


async def test_entries_no_longer_kept_are_told_and_the_rest_is_delivered(
    server: ScriptedServer, clients: Clients
) -> None:
    """P-7.14, P-9.9: after `gone` the log is begun anew, from what is still kept."""
    server.add("room", "ann")
    client = await clients.open()
    server.muted.add("room")
    for number in range(5):
        await server.entry("room", str(number))

    async def gone(link: Link, frame: Frame) -> bool:
        if frame["t"] == "fetch" and frame.get("after") == 0:
            await server.refuse(link, frame, Code.GONE, "no longer kept")
            return True
        if frame["t"] == "fetch" and "before" in frame:
            newest = [server.logs["room"][-1]]
            answer = {"t": "entries", "ref": frame["ref"], "conv": "room", "entries": newest}
            await link.say(answer | {"head": 5, "first_seq": 4, "complete": False})
            return True
        return False

    server.twist = gone
    await server.links[0].say({"t": "heads", "heads": {"room": 5}})
    assert (await next_event(client, ConversationReset)).first_seq == 4
    assert await entries(client, 2) == [("room", 4), ("room", 5)]


async def test_a_log_that_cannot_be_read_is_told(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open()
    server.muted.add("room")
    await server.entry("room", "1")
    refuse = once("fetch", lambda link, frame: server.refuse(link, frame, Code.CORRUPT, "damaged"))
    server.twist = refuse
    await server.links[0].say({"t": "heads", "heads": {"room": 1}})
    failed = await next_event(client, CatchUpFailed)
    assert (failed.conv, failed.code) == ("room", Code.CORRUPT)
    await server.links[0].say({"t": "heads", "heads": {"room": 1}})
    assert await entries(client, 1) == [("room", 1)]


async def test_a_question_asked_before_the_connection_broke_is_answered_after_it(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    await server.entry("room", "1")
    client = await clients.open()
    server.twist = once("fetch", lambda link, frame: link.cut())
    assert [entry.seq async for entry in client.history("room")] == [1]


async def test_unsaid_cursors_are_said_again_after_the_connection_broke(server: ScriptedServer) -> None:
    clock = ManualClock()
    server.add("room", "ann")
    await server.entry("room", "1")
    server.twist = once("cursor", lambda link, frame: link.cut())
    async with Runtime(clock=clock) as runtime, Client(server.url, token="ann:1", runtime=runtime) as client:
        client.mark_read("room", 1)
        await turn_until(clock, lambda: len(server.frames("cursor")) == 2)
    said = [frame["cursors"] for frame in server.frames("cursor")]
    assert said[0] == said[1] == [{"conv": "room", "read": 1, "delivered": 1}]


async def test_a_token_of_another_user_than_expected_ends_the_client(
    server: ScriptedServer, clients: Clients
) -> None:
    with pytest.raises(ClientError, match=r"'bob'.*'ann'"):
        async with Client(server.url, user="bob", token="ann:token"):
            pass


async def test_cutting_the_connection_again_and_again_loses_and_doubles_nothing(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann", "bob")
    ann, bob = await clients.open("ann", receipts=False), await clients.open("bob", receipts=False)
    posted = []
    for number in range(150):
        posted.append((ann if number % 2 else bob).post("room", str(number)))
        if number % 15 == 0 and server.links:
            await server.links[number % len(server.links)].cut()
        await asyncio.sleep(0.001)
    acked = sorted([(await each.acked).seq for each in posted])
    assert acked == list(range(1, 151))
    for client in (ann, bob):
        assert await entries(client, 150) == [("room", seq) for seq in range(1, 151)]
    for parity in (0, 1):
        mine = [int(text) for text in texts(server.logs["room"]) if int(text) % 2 == parity]
        assert mine == sorted(mine)
