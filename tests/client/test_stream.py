"""The application's end of the events: order, bounds, callbacks."""

import asyncio
from typing import Any

import msgspec
import pytest

from posthouse.client.errors import ClientClosed, ClientError
from posthouse.client.events import Connected, CursorsMoved, EntryReceived, Event, MessageReceived
from posthouse.client.stream import Stream
from posthouse.model.entry import Entry


def message(seq: int) -> MessageReceived:
    body = msgspec.Raw(b'{"text":"hi"}')
    return MessageReceived(Entry(conv="room", seq=seq, kind="message", at_ms=0, ordinal=seq, body=body))


class Reader:
    """A stream whose calls back are written down."""

    def __init__(self, events_max: int = 100) -> None:
        self.rooms = 0
        self.taken: list[Event] = []
        self.stream = Stream(events_max, self.make_room, self.taken.append)

    def make_room(self) -> None:
        self.rooms += 1

    async def read(self, count: int) -> list[Any]:
        events = []
        async for event in self.stream.events():
            events.append(event)
            if len(events) == count:
                break
        return events


async def test_events_are_kept_for_a_reader_that_comes_later_and_end_with_the_client() -> None:
    reader = Reader()
    for seq in (1, 2):
        assert reader.stream.offer(message(seq))
    reader.stream.close(None)
    assert [event.seq async for event in reader.stream.events() if isinstance(event, EntryReceived)] == [1, 2]


async def test_a_client_that_ended_with_an_error_gives_the_events_first_and_then_raises() -> None:
    reader = Reader()
    reader.stream.offer(message(1))
    reader.stream.close(ClientClosed("gone"))
    events = reader.stream.events()
    assert isinstance(await anext(events), MessageReceived)
    with pytest.raises(ClientClosed):
        await anext(events)


async def test_a_full_stream_takes_no_entry_and_says_when_half_of_it_is_read() -> None:
    reader = Reader(events_max=4)
    assert [reader.stream.offer(message(seq)) for seq in range(5)] == [True, True, True, True, False]
    await reader.read(1)
    assert reader.rooms == 0
    await reader.read(1)
    assert reader.rooms == 1
    assert reader.stream.offer(message(9))


async def test_a_full_stream_drops_and_counts_notices() -> None:
    reader = Reader(events_max=1)
    reader.stream.offer(message(1))
    assert reader.stream.offer(CursorsMoved("room", ()))
    assert reader.stream.notices_dropped == 1
    assert len(reader.stream) == 1


async def test_an_event_counts_as_taken_when_the_reader_comes_back_for_more() -> None:
    reader = Reader()
    reader.stream.offer(message(1))
    reader.stream.offer(message(2))
    events = reader.stream.events()
    await anext(events)
    assert reader.taken == []
    await anext(events)
    assert [event.seq for event in reader.taken if isinstance(event, EntryReceived)] == [1]


async def test_a_waiting_reader_is_woken() -> None:
    reader = Reader()
    reading = asyncio.create_task(reader.read(1))
    await asyncio.sleep(0)
    reader.stream.offer(message(7))
    assert (await reading)[0].seq == 7


async def test_callbacks_get_the_kinds_they_asked_for_and_nothing_is_kept_for_a_stream_that_nobody_reads() -> (
    None
):
    reader, messages, everything = Reader(events_max=2), list[Event](), list[Event]()
    reader.stream.subscribe(MessageReceived, messages.append)
    reader.stream.subscribe(Event, everything.append)
    events = [message(1), Connected("n1", "s1"), message(2), message(3)]
    assert all(reader.stream.offer(event) for event in events)
    await asyncio.sleep(0)
    assert everything == events
    assert messages == [events[0], *events[2:]]
    assert reader.taken == events
    assert len(reader.stream) == 0


async def test_a_callback_that_fails_does_not_disturb_the_others() -> None:
    reader, got, errors = Reader(), list[Event](), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))

    def fail(event: Event) -> None:
        raise ValueError("mine")

    reader.stream.subscribe(MessageReceived, fail)
    reader.stream.subscribe(MessageReceived, got.append)
    reader.stream.offer(message(1))
    reader.stream.offer(message(2))
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(got) == 2
    assert [type(error["exception"]) for error in errors] == [ValueError, ValueError]


async def test_async_callbacks_are_awaited_in_order_and_survive_their_own_errors() -> None:
    reader, got, errors = Reader(), list[int](), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))

    async def hear(event: MessageReceived) -> None:
        await asyncio.sleep(0)
        got.append(event.seq)
        if event.seq == 1:
            raise ValueError("mine")

    reader.stream.subscribe(MessageReceived, hear)
    for seq in (1, 2, 3):
        reader.stream.offer(message(seq))
    reader.stream.close(None)
    await reader.stream.pump()
    assert got == [1, 2, 3]
    assert len(errors) == 1


async def test_there_is_one_stream_for_one_reader() -> None:
    reader = Reader()
    waiting = asyncio.create_task(reader.read(1))
    await asyncio.sleep(0)
    with pytest.raises(ClientError, match="another task"):
        await reader.read(1)
    reader.stream.close(None)
    assert await waiting == []
