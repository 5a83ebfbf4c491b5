"""A client of the tests' own: says what it is told to over a WebSocket, and nothing by itself."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from posthouse.app.node import Node
from posthouse.kit.clock import ManualClock
from posthouse.messaging.gather import QUERIES_PER_S
from posthouse.protocol import SUBPROTOCOL
from spec.golden.tokens import token_of

Frame = dict[str, Any]


class Caller:
    """One connection to a node."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    @property
    def close_code(self) -> int | None:
        return self.socket.close_code

    async def say(self, frame: Frame) -> None:
        await self.socket.send(json.dumps(frame))

    async def say_bytes(self, message: bytes) -> None:
        """A text message of any bytes."""
        await self.socket.send(message, text=True)

    async def hear(self) -> Frame:
        """The next frame. Raises `ConnectionClosed`."""
        frame: Frame = json.loads(await self.socket.recv())
        return frame

    async def hear_of(self, *kinds: str) -> Frame:
        """The next frame of these kinds, passing over others."""
        while (frame := await self.hear())["t"] not in kinds:
            pass
        return frame

    async def ask(self, frame: Frame) -> Frame:
        """Say something and hear the next frame."""
        await self.say(frame)
        return await self.hear()

    async def enter(self, user: str = "ann", device: str = "phone", **fields: object) -> Frame:
        """Say hello; returns the answer."""
        return await self.ask({"t": "hello", "token": token_of(user), "device": device, **fields})

    async def hear_to_the_end(self) -> list[Frame]:
        """What still comes before the connection is closed, whatever the code."""
        frames = []
        with suppress(ConnectionClosed):
            while True:
                frames.append(await self.hear())
        return frames

    async def is_alive(self) -> bool:
        """The session goes on; whatever else came before the answer is passed over."""
        await self.say({"t": "ping"})
        return bool((await self.hear_of("pong", "goaway"))["t"] == "pong")


@asynccontextmanager
async def calling(node: Node) -> AsyncIterator[Caller]:
    """A connection that has not said anything yet."""
    url = f"ws://127.0.0.1:{node.port}/v1/ws"
    protocols = [Subprotocol(SUBPROTOCOL)]
    async with connect(
        url, subprotocols=protocols, compression=None, ping_interval=None, max_size=None
    ) as socket:
        yield Caller(socket)


@asynccontextmanager
async def entered(node: Node, user: str = "ann", device: str = "phone") -> AsyncIterator[Caller]:
    """A live session."""
    clock = node.gateway.clock
    if isinstance(clock, ManualClock):
        await clock.advance(
            4 / QUERIES_PER_S
        )  # else all tests of a file enter in the same moment, too many for it
    async with calling(node) as caller:
        assert (await caller.enter(user, device))["t"] == "welcome"
        yield caller
