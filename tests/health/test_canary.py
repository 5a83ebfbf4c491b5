"""The canary, against a scripted server: what it says of a node that delivers, and of every way of not delivering."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from posthouse.health import canary as canary_module
from posthouse.health.canary import GRACE_S, Canaries, Canary, Nest
from posthouse.health.readiness import Part
from posthouse.health.report import FAILED, OK, SLOW
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.protocol import SUBPROTOCOL
from posthouse.protocol.codes import Code
from posthouse.storage.base import StorageUnavailable

NEST = Nest("keeper", "nest")
PATIENCE_S, IMPATIENCE_S = 10.0, 0.2
"""The second is for flights that are to fail."""


class Node:
    """A node that behaves as told; also the canary's keeper."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.mode = "well"
        self.sessions: dict[str, ServerConnection] = {}
        self.sends: list[str] = []
        self.heads: dict[str, int] = {}
        self.trimmed: list[int] = []
        self.furnished = 0
        self.can_furnish = True
        self.homes = {"main": NEST}
        self.server: Server | None = None

    # The keeper

    def url(self) -> str:
        assert self.server is not None
        port = next(iter(self.server.sockets)).getsockname()[1] if self.mode != "away" else 1
        return f"ws://127.0.0.1:{port}/v1/ws"

    def tls(self) -> None:
        """It listens without."""

    def token(self, user: str) -> str:
        return f"token of {user}"

    def nests(self) -> Mapping[str, Nest]:
        return self.homes

    def grounded(self) -> bool:
        return self.mode == "grounded"

    async def furnish(self, nest: Nest) -> None:
        if not self.can_furnish:
            raise StorageUnavailable("the database is away")
        self.furnished += 1

    async def trim(self, nest: Nest, first_seq: int) -> None:
        self.trimmed.append(first_seq)

    # The server

    async def serve(self, connection: ServerConnection) -> None:
        device = ""
        async for message in connection:
            frame = json.loads(message)
            match frame["t"]:
                case "hello" if self.mode == "overloaded":
                    await self.say(connection, t="goaway", code=int(Code.OVERLOADED), reason="too much")
                    await connection.close(Code.OVERLOADED)
                case "hello":
                    device = frame["device"]
                    self.sessions[device] = connection
                    await self.say(connection, **WELCOME, user=NEST.user, device=device)
                case "send":
                    await self.answer(connection, frame)
        if self.sessions.get(device) is connection:
            del self.sessions[device]

    async def answer(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        self.sends.append(frame["client_id"])
        head = self.heads[frame["conv"]] = self.heads.get(frame["conv"], 0) + 1
        named = {"conv": frame["conv"], "client_id": frame["client_id"]}
        if self.mode == "refusing":
            await self.say(connection, t="error", code=int(Code.UNAVAILABLE), reason="no database", **named)
        elif self.mode == "hanging up":
            await connection.close(1011)
        elif self.mode != "mute":
            await self.say(connection, t="ack", seq=head, at_ms=1, ordinal=head, **named)
            if self.mode != "deaf":
                entry = {"seq": head, "kind": "message", "sender": "keeper", "at_ms": 1, "ordinal": head}
                body = {"body": {}, "device": "sender"}
                await self.say(self.sessions["hearer"], t="entry", entry=entry | named | body)

    async def say(self, connection: ServerConnection, **frame: object) -> None:
        await connection.send(json.dumps(frame))


WELCOME = {
    "t": "welcome", "session": "s", "node": "n1", "at_ms": 1, "epoch": "e", "resume_token": "r",
    "heartbeat_s": 60, "account_head": 0,
    "limits": {"frame_bytes_max": 1, "body_bytes_max": 1, "in_flight_max": 1, "repeat_window_s": 1},
}  # fmt: skip


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    async with serve(node.serve, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as server:  # type: ignore[list-item]
        node.server = server
        yield node


@pytest.fixture
async def canary(node: Node) -> AsyncIterator[Canary]:
    canary = Canary(node, NEST, node.clock, "n1.1", 5.0, PATIENCE_S)
    yield canary
    canary._land()


async def test_a_message_that_arrives_is_measured(node: Node, canary: Canary) -> None:
    assert canary.state() == ("", "no canary has flown yet")
    flight = await canary.fly()
    assert flight.state == OK
    assert flight.delivered_ms > 0
    assert canary.state()[0] == OK
    assert len(await flights(canary, 3)) == 3
    assert node.furnished == 1
    assert len(set(node.sends)) == 4, "each send has a name of its own"


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("deaf", "a message was acknowledged but not delivered within 0.2 s"),
        ("mute", "a message was not acknowledged within 0.2 s"),
        ("hanging up", "a message was not acknowledged: the connection was lost (1011)"),
        ("away", "no session came about: cannot connect to ws://127.0.0.1:1/v1/ws"),
    ],
)
async def test_a_node_that_does_not_deliver_fails_at_the_second_flight(
    node: Node, canary: Canary, mode: str, reason: str
) -> None:
    await canary.fly()
    node.mode, canary._timeout_s = mode, IMPATIENCE_S
    if mode == "away":
        canary._land()
    assert (await canary.fly()).state == FAILED
    assert canary.state()[0] == OK
    await canary.fly()
    assert canary.state()[0] == FAILED
    assert canary.state()[1].startswith(reason)
    node.mode, canary._timeout_s = "well", PATIENCE_S
    assert (await canary.fly()).state == OK
    assert canary.state()[0] == OK
    assert canary.failures == 2


@pytest.mark.parametrize("mode", ["refusing", "overloaded"])
async def test_a_refusal_is_no_failure_of_the_node(node: Node, canary: Canary, mode: str) -> None:
    await canary.fly()
    node.mode = mode
    if mode == "overloaded":
        canary._land()
    for flight in await flights(canary, 3):
        assert flight.state == SLOW
        assert flight.reason.startswith("the canary is refused: ")
    assert canary.failures == 0
    node.mode = "well"
    assert (await canary.fly()).state == OK, "on a new session, since the old one holds sends back"


async def test_a_database_that_is_away_from_the_start_is_no_failure_of_the_node(
    node: Node, canary: Canary
) -> None:
    node.can_furnish = False
    assert (await canary.fly()).state == SLOW
    node.can_furnish = True
    assert (await canary.fly()).state == OK


async def test_a_new_canary_has_time_until_its_membership_has_spread(node: Node, canary: Canary) -> None:
    node.mode, canary._timeout_s = "deaf", IMPATIENCE_S
    await flights(canary, 2)
    assert canary.state()[0] == ""
    await node.clock.advance(GRACE_S)
    assert canary.state()[0] == FAILED


async def test_the_log_is_cut_back(node: Node, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_module, "TRIM_EVERY", 5)
    monkeypatch.setattr(canary_module, "ENTRIES_KEPT", 3)
    await flights(canary, 10)
    assert node.trimmed == [2, 7]


async def test_there_is_one_canary_for_each_database_as_they_come_and_go(node: Node) -> None:
    canaries = Canaries(node, node.clock, "n1.1", interval_s=5.0, timeout_s=PATIENCE_S)
    tasks = Tasks(node.clock)
    tasks.supervise("canaries", canaries.run)
    await flown(node, canaries, 1)
    assert list(canaries.parts()) == [Part("canary", OK, "messages are delivered")]
    node.homes = {"a": Nest("ka", "na"), "b": Nest("kb", "nb")}
    await node.clock.advance(5)
    assert set(canaries.flying) == {"a", "b"}
    await tasks.close()
    assert not node.sessions or all(each.state.name != "OPEN" for each in node.sessions.values())


async def test_while_the_node_drains_no_canary_flies(node: Node) -> None:
    """It would come back again and again to a node that sends everybody away."""
    canaries = Canaries(node, node.clock, "n1.1", interval_s=5.0, timeout_s=PATIENCE_S)
    tasks = Tasks(node.clock)
    tasks.supervise("canaries", canaries.run)
    await flown(node, canaries, 1)
    assert canaries.sessions == 2
    node.mode = "grounded"
    await node.clock.advance(60)
    assert canaries.sessions == 0
    assert canaries.statistics()["flights"] == 1
    node.mode = "well"
    await flown(node, canaries, 2)
    await tasks.close()


async def test_only_when_nothing_is_delivered_anywhere_does_the_node_not_deliver(node: Node) -> None:
    canaries = Canaries(node, node.clock, "n1.1")
    for name, mode in (("a", "well"), ("b", "deaf")):
        canary = canaries.flying[name] = Canary(node, NEST, node.clock, name, 5.0, PATIENCE_S)
        node.mode = "well"
        await canary.fly()
        node.mode, canary._timeout_s = mode, IMPATIENCE_S if mode == "deaf" else PATIENCE_S
        await flights(canary, 2)
        canary._land()
    (part,) = canaries.parts()
    assert (part.state, "database b" in part.reason) == (SLOW, True)
    del canaries.flying["a"]
    (part,) = canaries.parts()
    assert part.state == FAILED


async def flights(canary: Canary, count: int) -> list[canary_module.Flight]:
    return [await canary.fly() for _ in range(count)]


async def flown(node: Node, canaries: Canaries, count: int) -> None:
    async with asyncio.timeout(10):
        while canaries.statistics()["flights"] < count or not list(canaries.parts()):
            await asyncio.sleep(0.01)
            await node.clock.advance(0.01)
