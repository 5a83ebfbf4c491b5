"""What tests of a running client share: a scripted server and clients that come back without waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

import pytest

from posthouse.client import Client, EntryReceived, Event
from posthouse.client.core import Core
from posthouse.kit.clock import ManualClock
from tests.client.scripted import ScriptedServer, scripted_server

E = TypeVar("E", bound=Event)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as server:
        yield server


class Clients:
    """Makes clients of a server that reconnect at once; all are closed at the end of the test."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self.made: list[Client] = []

    def make(self, user: str = "ann", **options: Any) -> Client:
        usual: dict[str, Any] = {"token": f"{user}:token", "reconnect_jitter_s": 0.01, "device": f"{user}-1"}
        client = Client(self._server.url, **(usual | options))
        self.made.append(client)
        return client

    async def open(self, user: str = "ann", **options: Any) -> Client:
        client = self.make(user, **options)
        await client.start()
        await client.wait_connected(5)
        return client


@pytest.fixture
async def clients(server: ScriptedServer) -> AsyncIterator[Clients]:
    made = Clients(server)
    yield made
    for client in made.made:
        await client.close()


def core_of(client: Client) -> Core:
    """What a started client knows."""
    core = client._shell.core
    assert core is not None
    return core


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has become true."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is inside the client
            await asyncio.sleep(0.002)


async def turn_until(clock: ManualClock, condition: Callable[[], bool]) -> None:
    """Let virtual time pass, and real sockets work, until something has become true."""
    async with asyncio.timeout(5):
        while not condition():
            await clock.advance(0.1)
            await asyncio.sleep(0.002)


async def next_event(client: Client, kind: type[E]) -> E:
    """The next event of a kind; others are passed over."""
    async with asyncio.timeout(5):
        async for event in client.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("the stream ended")


async def entries(client: Client, count: int) -> list[tuple[str, int]]:
    """The next so many entries, as (conversation, seq)."""
    found = []
    for _ in range(count):
        event = await next_event(client, EntryReceived)
        found.append((event.conv, event.seq))
    return found


def texts(entries: Iterable[dict[str, Any]]) -> list[str]:
    """The texts of a log of the scripted server."""
    return [entry["body"]["text"] for entry in entries]
