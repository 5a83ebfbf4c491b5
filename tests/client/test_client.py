"""The client against a server that is honest: sending, receiving, paging, state."""

import asyncio
import re
import sys
from typing import get_type_hints

import msgspec
import pytest

from posthouse import client as sdk
from posthouse.client import (
    Client,
    ClientClosed,
    ConversationHandle,
    ConversationJoined,
    CursorsMoved,
    EntryReceived,
    InvalidArgument,
    MessageReceived,
    NotConnected,
    OutboxFull,
    Runtime,
    SendFailed,
    SendRefused,
    client as client_module,
)
from posthouse.kit.clock import ManualClock
from posthouse.protocol.codes import Code
from tests.client.conftest import Clients, entries, next_event, texts, until
from tests.client.scripted import Frame, Link, ScriptedServer, scripted_server


def test_what_methods_take_and_return_is_imported_from_the_sdk() -> None:
    """Whatever a public signature names, an application can name too."""
    methods = [
        value for kind in (Client, ConversationHandle) for value in vars(kind).values() if callable(value)
    ]
    named = {
        name
        for method in methods
        if not method.__name__.startswith("_")
        for hint in get_type_hints(method, vars(client_module)).values()
        for name in re.findall(r"posthouse\.[\w.]+\.(\w+)", repr(hint))
    }
    assert {"Role", "History", "Entry", "Summary", "Member", "Conversation"} <= named
    assert named <= set(sdk.__all__)


async def test_a_sent_message_is_in_the_log_and_comes_back_as_the_users_own(
    server: ScriptedServer, clients: Clients
) -> None:
    """P-9.3: the server sends the ack alone."""
    server.add("room", "ann")
    client = await clients.open()
    sent = await client.send("room", "hello", reply_to=0, mentions=["bob"])
    event = await next_event(client, MessageReceived)
    assert (sent.conv, sent.seq) == ("room", 1)
    assert (event.seq, event.text, event.sender, event.own) == (1, "hello", "ann", True)
    assert event.entry.mentions == ("bob",)
    assert server.logs["room"][0]["mentions"] == ["bob"]


async def test_the_users_other_device_gets_the_message_as_an_entry(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    first, second = await clients.open(), await clients.open(device="ann-2")
    await first.send("room", "hello")
    event = await next_event(second, MessageReceived)
    assert (event.seq, event.sender, event.own) == (1, "ann", False)


async def test_a_body_of_ones_own_and_a_kind_of_ones_own_arrive_as_they_are(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    client = await clients.open()
    await client.send("room", {"x": [1, {"y": "ü"}]}, kind="x.move")
    event = await next_event(client, EntryReceived)
    assert (event.entry.kind, event.body) == ("x.move", {"x": [1, {"y": "ü"}]})
    assert server.logs["room"][0]["body"] == {"x": [1, {"y": "ü"}]}


async def test_the_messages_of_one_conversation_are_a_stream_of_their_own(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    server.add("other", "ann")
    client = await clients.open()
    await server.entry("other", "not this")
    await server.entry("room", "this")
    async for message in client.conversation("room").messages():
        assert message.text == "this"
        break


async def test_many_posts_arrive_in_order(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open()
    posted = [client.post("room", str(number)) for number in range(200)]
    await client.flush()
    assert texts(server.logs["room"]) == [str(number) for number in range(200)]
    assert [(await each.acked).seq for each in posted] == list(range(1, 201))
    assert len({each.client_id for each in posted}) == 200


async def test_a_refused_message_fails_alone_and_is_told(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    server.add("other")
    client = await clients.open()
    refused, kept = client.post("other", "no"), client.post("room", "yes")
    with pytest.raises(SendRefused) as caught:
        await refused.acked
    assert caught.value.code == Code.NOT_MEMBER
    assert (await kept.acked).seq == 1
    assert (await next_event(client, SendFailed)).client_id == refused.client_id


async def test_what_cannot_be_sent_is_refused_before_it_is_sent(
    server: ScriptedServer, clients: Clients
) -> None:
    client = await clients.open()
    bad_bodies = [
        "\ud800",
        {"deep": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]},
        {"x": object()},
        {"nul": "\0"},
        "x" * 40_000,
    ]
    for body in bad_bodies:
        with pytest.raises(InvalidArgument):
            client.post("room", body)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        client.post("", "hello")
    with pytest.raises(InvalidArgument):
        client.post("room", "hello", kind="member.joined")
    assert server.frames("send") == []
    assert client.statistics().unacknowledged == 0


async def test_a_full_outbox_takes_no_more(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open(outbox_messages_max=2)
    client.post("room", "1")
    client.post("room", "2")
    with pytest.raises(OutboxFull):
        client.post("room", "3")
    await client.flush()
    await client.send("room", "4")


async def test_on_first_start_only_what_is_new_is_delivered(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    await server.entry("room", "old")
    client = await clients.open()
    await server.entry("room", "new")
    assert await entries(client, 1) == [("room", 2)]


async def test_catching_up_all_delivers_everything_since_joining(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    for number in range(450):
        await server.entry("room", str(number))
    client = await clients.open(catch_up="all")
    assert await entries(client, 450) == [("room", seq) for seq in range(1, 451)]


async def test_the_whole_list_is_read_page_by_page(server: ScriptedServer, clients: Clients) -> None:
    for number in range(7):
        server.add(f"room {number}", "ann")
    client = await clients.open()
    for number in range(7):
        await server.entry(f"room {number}", "hi")
    assert sorted(await entries(client, 7)) == [(f"room {number}", 1) for number in range(7)]
    assert [summary.conv async for summary in client.conversations()] == [f"room {n}" for n in range(7)]


async def test_a_conversation_joined_while_connected_is_delivered_from_where_the_user_joined(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "bob")
    client = await clients.open()
    await server.entry("room", "before")
    await server.join("room", "ann")
    joined = await next_event(client, ConversationJoined)
    assert (joined.conv, joined.joined_seq) == ("room", 2)
    await server.entry("room", "after")
    assert await entries(client, 2) == [("room", 2), ("room", 3)]


async def test_what_was_written_between_a_joining_and_its_news_is_fetched_though_nothing_tells_of_it(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "bob")
    client = await clients.open()
    server.muted = {"room", "~ann"}
    await server.join("room", "ann")
    for text in ("unheard", "unheard too"):
        await server.entry("room", text)
    server.muted = set()
    body = {"conv": "elsewhere", "joined_seq": 1}
    await server._append("~ann", "conversation.left", body, "", "", "")
    assert await entries(client, 3) == [("room", 1), ("room", 2), ("room", 3)]


async def test_what_was_written_between_joining_and_hearing_of_it_is_fetched(
    server: ScriptedServer, clients: Clients
) -> None:
    """Nobody pushes it: the user's session follows the conversation only from the account entry on."""
    server.add("room", "bob")
    client = await clients.open()
    server.muted.add("room")
    await server._append("room", "member.joined", {"users": ["ann"]}, "", "", "")
    for number in range(250):
        await server.entry("room", str(number))
    server.members["room"]["ann"] = 1
    await server._append("~ann", "conversation.joined", {"conv": "room", "joined_seq": 1}, "", "", "")
    assert await entries(client, 251) == [("room", seq) for seq in range(1, 252)]


async def test_a_message_to_a_conversation_just_joined_is_acknowledged_and_delivered_once(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "bob")
    client = await clients.open()
    server.members["room"]["ann"] = 1
    await client.send("room", "early")
    server.logs["~ann"] = []
    await server._append("~ann", "conversation.joined", {"conv": "room", "joined_seq": 1}, "", "", "")
    assert await entries(client, 1) == [("room", 1)]
    await server.entry("room", "next")
    assert await entries(client, 1) == [("room", 2)]


async def test_history_goes_both_ways_over_several_pages(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    for number in range(430):
        await server.entry("room", str(number))
    client = await clients.open()
    back = [entry.seq async for entry in client.history("room")]
    assert back == list(range(430, 0, -1))
    assert [entry.seq async for entry in client.history("room", after=0)] == back[::-1]
    assert [entry.seq async for entry in client.history("room", before=300, limit=250)] == list(
        range(299, 49, -1)
    )
    assert [entry.seq async for entry in client.history("room", after=428)] == [429, 430]
    assert [entry.seq async for entry in client.conversation("room").history(limit=0)] == []
    with pytest.raises(InvalidArgument):
        await anext(client.history("room", before=1, after=1))


async def test_unread_counts_and_reading_is_told_within_a_second(server: ScriptedServer) -> None:
    clock = ManualClock()
    server.add("room", "ann")
    await server.entry("room", "old")
    async with Runtime(clock=clock) as runtime, Client(server.url, token="ann:1", runtime=runtime) as client:
        await server.entry("room", "new")
        await entries(client, 1)
        assert client.unread("room") == 2
        client.mark_read("room")
        assert client.unread("room") == 0
        await clock.advance(1)
        await server.until(lambda: bool(server.frames("cursor")))
    assert server.frames("cursor")[0]["cursors"] == [{"conv": "room", "read": 2, "delivered": 2}]


async def test_receipts_are_given_by_themselves_in_a_small_conversation(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann", "bob")
    client = await clients.open()
    await server.entry("room", "1")
    await server.entry("room", "2")
    await entries(client, 2)
    await client.close()
    assert [frame["cursors"] for frame in server.frames("cursor")] == [[{"conv": "room", "delivered": 2}]]


async def test_cursors_of_others_are_told_and_the_users_own_count_here_too(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann", "bob")
    await server.entry("room", "1")
    client = await clients.open()
    moved = [{"user": "bob", "read": 1}, {"user": "ann", "read": 1}]
    await server.links[0].say({"t": "cursors", "conv": "room", "of": moved})
    event = await next_event(client, CursorsMoved)
    assert [(cursor.user, cursor.read) for cursor in event.cursors] == [("bob", 1), ("ann", 1)]
    assert client.unread("room") == 0


async def test_a_slow_reader_loses_nothing_and_keeps_little(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open(events_max=10)
    for number in range(300):
        await server.entry("room", str(number))
    await until(lambda: client.statistics().logs_behind == 1)
    assert client.statistics().events_waiting <= 10
    await client.send("room", "I am still here")
    assert await entries(client, 301) == [("room", seq) for seq in range(1, 302)]


async def test_nothing_is_kept_for_a_stream_when_callbacks_take_the_entries(
    server: ScriptedServer, clients: Clients
) -> None:
    server.add("room", "ann")
    client, got = clients.make(events_max=10), list[int]()

    @client.on(EntryReceived)
    def hear(event: EntryReceived) -> None:
        got.append(event.seq)

    await client.start()
    await client.wait_connected()
    for number in range(100):
        await server.entry("room", str(number))
    await until(lambda: len(got) == 100)
    assert got == list(range(1, 101))


async def test_async_callbacks_may_send(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open()

    @client.on(MessageReceived)
    async def answer(event: MessageReceived) -> None:
        if not event.own:
            await client.send(event.conv, f"you said {event.text}")

    await server.entry("room", "a")
    await server.entry("room", "b")
    await until(lambda: len(server.logs["room"]) == 4)
    assert sorted(texts(server.logs["room"])) == ["a", "b", "you said a", "you said b"]


async def test_unknown_frames_and_fields_are_passed_over(server: ScriptedServer, clients: Clients) -> None:
    """P-3.3, P-3.7."""
    server.add("room", "ann")
    client = await clients.open()
    await server.links[0].say({"t": "typing", "conv": "room"})
    await server.entry("room", "hi", colour="red")
    assert await entries(client, 1) == [("room", 1)]
    assert client.statistics().unknown_frames == 1
    assert client.statistics().connection_attempts == 1


async def test_messages_in_fragments_are_put_together(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = await clients.open()
    entry = {"conv": "room", "seq": 1, "kind": "message", "at_ms": 1, "ordinal": 1, "body": {"text": "hi"}}
    text = msgspec.json.encode({"t": "entry", "entry": entry}).decode()
    await server.links[0].socket.send([text[:10], text[10:40], text[40:]])
    assert await entries(client, 1) == [("room", 1)]


async def test_the_context_manager_says_why_there_is_no_connection() -> None:
    async with scripted_server() as gone:
        address = gone.url
    with pytest.raises(NotConnected, match="cannot connect to"):
        async with Client(address, token="ann:1", connect_timeout_s=0.05):
            pass


async def test_a_client_works_only_between_start_and_close(server: ScriptedServer, clients: Clients) -> None:
    server.add("room", "ann")
    client = clients.make()
    with pytest.raises(ClientClosed, match="not started"):
        client.post("room", "too early")
    await client.start()
    await client.wait_connected()
    server.twist = swallow_sends
    posted = client.post("room", "unanswered")
    waiting = asyncio.create_task(client.send("room", "also unanswered"))
    await server.until(lambda: len(server.frames("send")) == 2)
    await client.close()
    await client.close()
    with pytest.raises(ClientClosed):
        await posted.acked
    with pytest.raises(ClientClosed):
        await waiting
    with pytest.raises(ClientClosed):
        client.post("room", "too late")
    assert [event async for event in client.events() if isinstance(event, MessageReceived)] == []


async def swallow_sends(link: Link, frame: Frame) -> bool:
    return bool(frame["t"] == "send")


async def test_clients_of_one_process_share_a_runtime(server: ScriptedServer) -> None:
    server.add("room", *(f"u{number}" for number in range(20)))
    async with Runtime() as runtime:
        many = [Client(server.address, token=f"u{number}:t", runtime=runtime) for number in range(20)]
        for client in many:
            await client.start()
        for client in many:
            await client.wait_connected()
        await many[0].send("room", "hello")
        for client in many:
            assert await entries(client, 1) == [("room", 1)]
        for client in many:
            await client.close()
    assert server.requests.count("/v1/endpoints") <= 20


async def test_the_endpoints_behind_an_address_are_used(server: ScriptedServer) -> None:
    async with scripted_server() as front:
        front.endpoints = [{"url": server.url, "weight": 1.0}]
        async with Client(front.address, token="ann:1") as client:
            assert client.user == "ann"
        assert len(server.hellos) == 1
        assert front.hellos == []


async def test_importing_the_package_does_not_import_the_sdk() -> None:
    program = (
        "import posthouse, sys; assert 'posthouse.client' not in sys.modules; from posthouse import Client"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0
