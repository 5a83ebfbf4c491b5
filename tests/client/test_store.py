"""A store file keeps what was not acknowledged, and where the reader stood, over any end of the application."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.client import (
    CatchUpFailed,
    Client,
    ConversationJoined,
    ConversationLeft,
    Event,
    MembersLeft,
    MessageReceived,
    OutboxFull,
    StoreFailed,
    StoreInUse,
    StoreMismatch,
)
from posthouse.client.host import Saved
from posthouse.client.outbox import Item, item_of
from posthouse.client.store import Store
from posthouse.client.stream import KEPT_EVENTS
from posthouse.protocol.codes import Code
from tests.client.conftest import Clients, core_of, entries, next_event, texts, until
from tests.client.scripted import Frame, Link, ScriptedServer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ann.store"


class Opened:
    """A store of its own, with what it reported."""

    def __init__(self, path: Path) -> None:
        self.stored: list[str] = []
        self.failed: list[str] = []
        self.batches = 0
        self.store = Store(path, self._hear)

    def _hear(self, items: list[Item], error: StoreFailed | None) -> None:
        self.batches += 1
        (self.stored if error is None else self.failed).extend(item.send.client_id for item in items)


def item(name: str) -> Item:
    return item_of("room", name, 7, b'{"text":"\xc3\xbc"}', "x.kind", 3, ("bob",))


async def test_what_was_put_and_noted_is_there_after_a_restart(path: Path) -> None:
    first = Opened(path)
    await first.store.open()
    saved = Saved("ann", "d1", "e1", "resume", -5, listed=True)
    first.store.remember(saved)
    for name in ("a", "b", "c"):
        first.store.put(item(name))
    first.store.settle("b")
    first.store.note("room", 4)
    first.store.note("gone", 5)
    first.store.note("gone", None)
    await first.store.close()
    second = Opened(path)
    loaded = await second.store.open()
    await second.store.close()
    assert loaded.saved == saved._replace(positions={"room": 4})
    assert loaded.sends == [item("a").send, item("c").send]


async def test_all_that_is_put_while_a_batch_is_written_goes_into_the_next_one(path: Path) -> None:
    opened = Opened(path)
    await opened.store.open()
    for number in range(500):
        opened.store.put(item(f"n{number}"))
    await opened.store.close()
    assert opened.stored == [f"n{number}" for number in range(500)]
    assert opened.batches <= 3


async def test_positions_are_void_until_every_conversation_has_one(path: Path) -> None:
    first = Opened(path)
    await first.store.open()
    first.store.remember(Saved("ann", "d1", "e1", listed=True))
    first.store.note("room", 4)
    first.store.write()
    first.store.remember(Saved("ann", "d1", "e2"))
    first.store.forget_positions()
    first.store.note("other", 1)
    await first.store.close()
    second = Opened(path)
    loaded = await second.store.open()
    await second.store.close()
    assert not loaded.saved.listed
    assert loaded.saved.positions == {"other": 1}


async def test_what_has_begun_is_kept_when_the_list_is_cut_short_and_read_in_the_next_session(
    path: Path,
) -> None:
    """G4: those that the first session began are not begun again; without them nothing would be resumed there."""
    first = Opened(path)
    await first.store.open()
    first.store.remember(Saved("ann", "d1", "e1"))
    first.store.begin("~ann", 3)
    first.store.remember(Saved("ann", "d1", "e1"))
    first.store.begin("room", 4)
    first.store.remember(Saved("ann", "d1", "e1", listed=True))
    await first.store.close()
    second = Opened(path)
    loaded = await second.store.open()
    await second.store.close()
    assert loaded.saved.listed
    assert loaded.saved.positions == {"~ann": 3, "room": 4}


async def test_a_write_that_fails_fails_the_sends_and_keeps_the_rest_for_later(path: Path) -> None:
    opened = Opened(path)
    await opened.store.open()
    opened.store.put(item("a"))
    await until(lambda: bool(opened.stored))
    opened.store.note("room", 4)
    opened.store.put(item("a"))  # the same name twice breaks a constraint
    await until(lambda: bool(opened.failed))
    await opened.store.close()
    second = Opened(path)
    loaded = await second.store.open()
    await second.store.close()
    assert dict(loaded.saved.positions) == {"room": 4}
    assert len(loaded.sends) == 1


async def test_one_file_serves_one_client(path: Path) -> None:
    first, second = Opened(path), Opened(path)
    await first.store.open()
    with pytest.raises(StoreInUse, match="file of its own"):
        await second.store.open()
    await first.store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO facts VALUES ('clock_offset_ms', 'soon')",
        "INSERT INTO facts VALUES ('user', x'ff')",
        "INSERT INTO positions VALUES ('room', 'far')",
        "INSERT INTO outbox VALUES (1, 'k', x'ff')",
        "INSERT INTO outbox VALUES (1, 'k', '{}')",
        "DROP TABLE positions",
    ],
)
async def test_a_damaged_store_is_refused(tmp_path: Path, damage: str) -> None:
    whole = Opened(tmp_path / "damaged")
    await whole.store.open()
    await whole.store.close()
    with sqlite3.connect(tmp_path / "damaged") as db:
        db.execute(damage)
    db.close()
    with pytest.raises(StoreFailed, match="damaged"):
        await Opened(tmp_path / "damaged").store.open()


async def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"not a database" * 500)
    with pytest.raises(StoreFailed, match="broken"):
        await Opened(broken).store.open()
    newer = tmp_path / "newer"
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreFailed, match="newer version"):
        await Opened(newer).store.open()


async def test_a_message_posted_offline_is_sent_by_the_next_run(
    server: ScriptedServer, clients: Clients, path: Path
) -> None:
    server.add("room", "ann")
    await server.stop()
    first = clients.make(store=path, device="")
    await first.start()
    posted = [first.post("room", str(number)) for number in range(3)]
    for each in posted:
        await each.stored
    device = first.device
    await first.close()
    await server.start()
    second = await clients.open(store=path, device="")
    await second.flush()
    assert second.device == device
    assert texts(server.logs["room"]) == ["0", "1", "2"]
    assert [frame["client_id"] for frame in server.frames("send")] == [each.client_id for each in posted]
    await second.close()
    third = await clients.open(store=path, device="")
    assert third.statistics().unacknowledged == 0
    assert len(server.logs["room"]) == 3


async def test_a_message_goes_to_the_server_only_after_it_was_stored(
    server: ScriptedServer, clients: Clients, path: Path
) -> None:
    """P-8.2."""
    server.add("room", "ann")
    client = await clients.open(store=path)
    posted = client.post("room", "hello")
    assert not posted.stored.done()
    await posted.stored
    assert server.frames("send") == []
    await posted.acked
    assert len(server.frames("send")) == 1


async def test_a_full_outbox_counts_what_an_earlier_run_left(
    server: ScriptedServer, clients: Clients, path: Path
) -> None:
    await server.stop()
    first = clients.make(store=path)
    await first.start()
    await first.post("room", "1").stored
    await first.close()
    second = clients.make(store=path, outbox_messages_max=1)
    await second.start()
    with pytest.raises(OutboxFull):
        second.post("room", "2")
    await second.close()
    await server.start()


async def test_a_reader_goes_on_where_it_stopped(
    server: ScriptedServer, clients: Clients, path: Path
) -> None:
    """P-9.13, P-10.7."""
    server.add("room", "ann")
    first = await clients.open(store=path)
    for number in range(5):
        await server.entry("room", str(number))
    assert await entries(first, 3) == [("room", 1), ("room", 2), ("room", 3)]
    first._shell.stream.mark_taken()
    await first.close()
    for number in range(5, 7):
        await server.entry("room", str(number))
    second = await clients.open(store=path)
    assert await entries(second, 4) == [("room", seq) for seq in (4, 5, 6, 7)]
    assert server.hellos[1]["resume"]["positions"]["room"] == 3


@pytest.mark.parametrize("comes_back", [False, True])
async def test_what_was_not_read_of_a_conversation_that_was_left_comes_after_the_restart(
    server: ScriptedServer, clients: Clients, path: Path, comes_back: bool
) -> None:
    """P-9.13: that it was left had arrived, and was not read either."""
    server.add("room", "ann")
    first = await clients.open(store=path)
    for number in range(3):
        await server.entry("room", str(number))
    assert await entries(first, 1) == [("room", 1)]
    first._shell.stream.mark_taken()
    await server.leave("room", "ann")
    if comes_back:
        await server.join("room", "ann")
    await until(lambda: core_of(first).sync.timelines.applied("~ann") == 1 + comes_back)
    await first.close()
    server.members["room"].clear()
    second = await clients.open(store=path)
    seen = [("room", seq) for seq in range(2, 5 + comes_back)]
    assert await entries(second, len(seen)) == seen


@pytest.mark.parametrize("calls_back", [False, True])
async def test_a_conversation_that_was_left_is_not_kept_once_that_was_read(
    server: ScriptedServer, clients: Clients, path: Path, calls_back: bool
) -> None:
    server.add("room", "ann")
    client = clients.make(store=path)
    left = asyncio.Event()
    if calls_back:
        client.on(ConversationLeft)(lambda event: left.set())
    await client.start()
    await client.wait_connected()
    await server.entry("room", "1")
    await server.leave("room", "ann")
    if calls_back:
        await left.wait()
    else:
        await next_event(client, ConversationLeft)
        client._shell.stream.mark_taken()
    await client.close()
    assert await positions(path) == {"~ann": 1}


async def test_what_was_missing_of_a_conversation_that_was_left_comes_before_that_it_was(
    server: ScriptedServer, clients: Clients, path: Path
) -> None:
    """P-9.14: whoever ends in between has read neither, and has both after the restart."""

    async def swallow_fetches(link: Link, frame: Frame) -> bool:
        return bool(frame["t"] == "fetch" and frame["conv"] == "room")

    server.add("room", "ann")
    first = clients.make(store=path)
    left: list[ConversationLeft] = []
    first.on(ConversationLeft)(left.append)
    await first.start()
    await first.wait_connected()
    server.muted, server.twist = {"room"}, swallow_fetches
    await server.entry("room", "1")
    await server.leave("room", "ann")
    await server.until(lambda: bool(server.frames("fetch")))
    await first.close()
    assert left == []
    server.twist = None
    second = await clients.open(store=path)
    kept = [event async for event in first_kept(second, 3)]
    assert [type(event) for event in kept] == [MessageReceived, MembersLeft, ConversationLeft]
    second._shell.stream.mark_taken()
    await second.close()
    assert await positions(path) == {"~ann": 1}


async def test_it_is_told_that_a_conversation_was_left_also_when_its_end_cannot_be_read(
    server: ScriptedServer, clients: Clients
) -> None:
    async def refuse_fetches(link: Link, frame: Frame) -> bool:
        refused = bool(frame["t"] == "fetch" and frame["conv"] == "room")
        if refused:
            await server.refuse(link, frame, Code.CORRUPT, "damaged")
        return refused

    server.add("room", "ann")
    client = await clients.open()
    server.muted, server.twist = {"room"}, refuse_fetches
    await server.leave("room", "ann")
    assert (await next_event(client, CatchUpFailed)).conv == "room"
    assert (await next_event(client, ConversationLeft)).conv == "room"


async def test_who_is_a_member_again_at_once_keeps_their_place(
    server: ScriptedServer, clients: Clients, path: Path
) -> None:
    """Of a restart just after the news of it was read, and before anything else was."""
    server.add("room", "ann")
    client = await clients.open(store=path)
    await server.leave("room", "ann")
    await server.join("room", "ann")
    await next_event(client, ConversationJoined)
    client._shell.stream.mark_taken()
    await client.close()
    assert await positions(path) == {"~ann": 2, "room": 1}


async def first_kept(client: Client, count: int) -> AsyncIterator[Event]:
    """The first of those events that are no mere notices."""
    async with asyncio.timeout(5):
        async for event in client.events():
            if isinstance(event, KEPT_EVENTS):
                yield event
                count -= 1
                if not count:
                    return


async def positions(path: Path) -> dict[str, int]:
    store = Opened(path).store
    saved = (await store.open()).saved
    await store.close()
    return dict(saved.positions)


async def test_an_event_whose_handling_failed_comes_again_after_the_restart(
    server: ScriptedServer, path: Path
) -> None:
    server.add("room", "ann")

    async def fail_on_first() -> None:
        async with Client(server.url, token="ann:1", store=path) as client:
            await server.entry("room", "1")
            await next_event(client, MessageReceived)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_on_first()
    async with Client(server.url, token="ann:1", store=path) as second:
        assert await entries(second, 1) == [("room", 1)]
        await server.entry("room", "2")
        assert await entries(second, 1) == [("room", 2)]
    async with Client(server.url, token="ann:1", store=path) as third:
        await server.entry("room", "3")
        assert await entries(third, 1) == [("room", 3)]


async def test_a_store_belongs_to_one_device_and_one_user(
    server: ScriptedServer, clients: Clients, path: Path
) -> None:
    client = await clients.open(store=path)
    await client.close()
    with pytest.raises(StoreMismatch, match="device"):
        await clients.open(store=path, device="another")
    other = clients.make("bob", store=path, device="ann-1")
    await other.start()
    with pytest.raises(StoreMismatch, match="user"):
        await other.wait_connected()


APPLICATION = """
import asyncio, sys
from posthouse import Client

async def main():
    client = Client(sys.argv[1], token="ann:1", store=sys.argv[2], reconnect_jitter_s=0.01)
    await client.start()
    posted = [client.post("room", str(number)) for number in range(20)]
    for each in posted:
        await each.stored
    print("stored", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_an_application_killed_between_store_and_ack_loses_nothing_and_doubles_nothing(
    server: ScriptedServer, path: Path
) -> None:
    """P-8.2: the server commits the sends but its acks never arrive; the application is killed and started again."""
    server.add("room", "ann")

    async def commit_silently(link: Link, frame: Frame) -> bool:
        if frame["t"] != "send" or len(server.logs["room"]) >= 7:
            return bool(frame["t"] == "send")
        await server._append(
            "room", "message", frame["body"], "ann", link.device, frame["client_id"], but=link
        )
        return True

    server.twist = commit_silently
    arguments = ("-c", APPLICATION, server.url, str(path))
    application = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert application.stdout is not None
        async with asyncio.timeout(10):
            assert await application.stdout.readline() == b"stored\n"
        await server.until(lambda: len(server.logs["room"]) == 7)
    finally:
        os.kill(application.pid, signal.SIGKILL)
        await application.wait()
    server.twist = None
    async with Client(server.url, token="ann:1", store=path) as client:
        await client.flush()
    assert texts(server.logs["room"]) == [str(number) for number in range(20)]
