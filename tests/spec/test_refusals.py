"""A real node refuses every invalid frame of the vectors with the code they name, and harms nobody else."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from posthouse.app.config import App, Config, Key
from posthouse.app.config.values import Data, Listen
from posthouse.app.node import Node
from posthouse.kit.clock import ManualClock
from posthouse.protocol import SUBPROTOCOL
from posthouse.protocol.codes import Action, action_of
from spec.golden import tokens
from tests.spec import vectors

pytestmark = pytest.mark.asyncio(loop_scope="module")
HELLO = {"t": "hello", "token": tokens.GOOD_TOKEN, "device": "phone"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """A node that knows the keys of the token vectors; its clock stands where they are valid."""
    folder: Path = tmp_path_factory.mktemp("node")
    key = Key(kid="k1", alg="HS256", secret=tokens.SECRET)
    config = Config(listen=Listen(port=0), data=Data(folder=str(folder)), apps={tokens.APP: App(keys=(key,))})
    node = Node(config, ManualClock(tokens.NOW_S * 1000))
    await node.start()
    yield node
    await node.stop()


def dial(node: Node) -> connect:
    return connect(
        f"ws://127.0.0.1:{node.port}/v1/ws",
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        ping_interval=None,
    )


async def say_hello(socket: ClientConnection, device: str) -> dict[str, Any]:
    await socket.send(json.dumps(HELLO | {"device": device}))
    return await answer(socket)


async def answer(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await socket.recv())
    return frame


@pytest.mark.parametrize("vector", vectors.of("invalid_frames", "frames", "rule", "name"))
async def test_an_invalid_frame_is_answered_with_its_code(node: Node, vector: dict[str, Any]) -> None:
    """It ends the session or it is answered; a session that goes on still works, and so does everybody else's."""
    async with dial(node) as socket, dial(node) as bystander:
        assert (await say_hello(bystander, "laptop"))["t"] == "welcome"
        if vector["phase"] == "live":
            assert (await say_hello(socket, "phone"))["t"] == "welcome"
        await socket.send(vectors.read(vector), text=True)
        if vector["code"] < 4500 and "renew" not in vectors.read(vector).decode(errors="replace"):
            await expect_end(socket, vector["code"])
        else:
            refusal = await answer(socket)
            assert (refusal["t"], refusal["code"]) == ("error", vector["code"])
            await expect_life(socket)
        await expect_life(bystander)
    assert node.gateway.codes[vector["code"]] > 0 or vector["code"] == 1007


async def expect_end(socket: ClientConnection, code: int) -> None:
    """P-13.4: a goaway, then a close with the same code; only the WebSocket's own codes come without one."""
    frames = [json.loads(message) async for message in closing(socket)]
    assert socket.close_code == code
    if code >= 4000:
        assert [(frame["t"], frame["code"]) for frame in frames] == [("goaway", code)]
    else:
        assert frames == []


async def closing(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    """What still comes before the connection is closed, whatever the code."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


async def expect_life(socket: ClientConnection) -> None:
    await socket.send('{"t":"ping"}')
    assert await answer(socket) == {"t": "pong"}


async def test_what_ends_a_session_says_what_to_do_next() -> None:
    """None of these codes sends a client into a loop: it stops, gets a new token, or forgets its resume token."""
    codes = {vector["code"] for vector in vectors.load("invalid_frames")["frames"] if vector["code"] < 4500}
    assert {action_of(code) for code in codes} <= {Action.STOP, Action.REAUTHENTICATE, Action.RESET}
