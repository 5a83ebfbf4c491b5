"""A client and several servers, over real sockets: which one it goes to when some are dead, silent or refusing."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from posthouse.client import (
    Client,
    Connected,
    Disconnected,
    MessageReceived,
    Resumed,
    Runtime,
    route,
    transport,
)
from posthouse.client.race import HEAD_START_S
from posthouse.kit.clock import ManualClock, SystemClock
from posthouse.load.bench.passes import Passes
from posthouse.protocol.codes import Code
from posthouse.testing.faultproxy import CUT, NONE, FaultProxy
from posthouse.testing.servers import LocalServer
from tests.client.conftest import next_event, turn_until, until
from tests.client.scripted import Frame, Link, ScriptedServer, scripted_server


@asynccontextmanager
async def frozen_server() -> AsyncIterator[str]:
    """As a node under SIGSTOP: the kernel takes the connection, and nobody ever answers. Gives its endpoint."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/ws"
    finally:
        server.close()
        for writer in held:
            writer.close()


@asynccontextmanager
async def another() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as other:
        yield other


def nodes(*servers: ScriptedServer | str, ttl_s: float = 60.0) -> None:
    """All servers name these as the endpoints, the first with all the weight."""
    urls = [server if isinstance(server, str) else server.url for server in servers]
    listed: list[Frame] = [
        {"url": url, "weight": 1e9 if rank == 0 else 1e-9} for rank, url in enumerate(urls)
    ]
    for server in servers:
        if isinstance(server, ScriptedServer):
            server.endpoints, server.ttl_s = listed, ttl_s


async def test_a_node_that_accepts_and_says_nothing_is_overtaken_by_the_next(server: ScriptedServer) -> None:
    async with frozen_server() as frozen, another() as other:
        server.endpoints = [{"url": frozen, "weight": 1e9}, {"url": other.url, "weight": 1e-9}]
        clock = ManualClock()
        async with Runtime(clock=clock) as runtime:
            client = Client(server.address, token="ann:1", runtime=runtime)
            await client.start()
            await turn_until(clock, lambda: client.connected)
            assert clock.monotonic() <= 10 * HEAD_START_S
            assert (len(other.hellos), len(server.hellos)) == (1, 0)
            assert client.statistics().connection_attempts == 2
            await client.close()


async def test_of_two_that_answer_only_one_is_greeted(server: ScriptedServer) -> None:
    """P-2.1: the slow one is hung up on: never two sessions of one device."""
    proxied = ScriptedServer()
    await proxied.start()
    proxy = FaultProxy(int(proxied.address.rpartition(":")[2]), SystemClock(), random.Random(0))
    await proxy.start()
    await proxy.suffer(CUT)
    nodes(f"ws://127.0.0.1:{proxy.port}/v1/ws", server)
    try:
        async with Client(server.address, token="ann:1") as client:
            await proxy.suffer(NONE)
            await asyncio.sleep(0.05)
            assert client.connected
            assert (len(server.hellos), len(proxied.hellos)) == (1, 0)
            assert not proxied.links
    finally:
        await proxy.close()
        await proxied.stop()


async def test_when_a_node_dies_its_clients_receive_again_at_once_from_another(
    server: ScriptedServer,
) -> None:
    async with another() as other:
        nodes(server, other)
        for each in (server, other):
            each.add("room", "ann")
        async with Client(server.address, token="ann:1", reconnect_jitter_s=30.0) as client:
            assert len(server.hellos) == 1
            await server.stop()
            assert (await next_event(client, Disconnected)).retry_in_s == 0.0
            await next_event(client, Resumed)
            await other.entry("room", "hello again")
            assert (await next_event(client, MessageReceived)).text == "hello again"
        await server.start()


async def test_a_silent_node_is_left_for_another(server: ScriptedServer) -> None:
    async def freeze(link: Link, frame: Frame) -> bool:
        return str(frame["t"]) == "ping"

    async with another() as other:
        nodes(server, other)
        async with Client(server.address, token="ann:1", heartbeat_s=1) as client:
            server.twist = freeze
            assert "does not answer" in (await next_event(client, Disconnected)).reason
            await next_event(client, Resumed)
            assert (len(server.hellos), len(other.hellos)) == (1, 1)


async def test_a_dead_address_does_not_matter_when_there_are_several(server: ScriptedServer) -> None:
    async with another() as other, frozen_server() as frozen:
        await server.stop()
        silent = frozen.replace("ws://", "http://").removesuffix("/v1/ws")
        async with Client([server.address, silent, other.address], token="ann:1") as client:
            assert client.connected
            assert len(other.hellos) == 1
        await server.start()


async def test_the_list_is_asked_for_in_the_background_before_it_is_stale(server: ScriptedServer) -> None:
    """P-2.1."""
    async with another() as other:
        nodes(server, ttl_s=20.0)
        clock = ManualClock()
        async with Runtime(clock=clock) as runtime:
            client = Client(server.address, token="ann:1", runtime=runtime, heartbeat_s=300)
            await client.start()
            await turn_until(clock, lambda: client.connected)
            nodes(server, other, ttl_s=20.0)
            await turn_until(clock, lambda: server.requests.count("/v1/endpoints") == 2)
            assert clock.monotonic() >= 16.0
            await server.stop()
            await turn_until(clock, lambda: bool(other.hellos))
            await client.close()
        await server.start()


async def test_after_a_loss_the_list_is_asked_of_whoever_lives_not_of_the_dead_address(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P-2.1."""
    monkeypatch.setattr(route, "LOOK_WITHIN_S", 0.05)
    async with another() as second, another() as third:
        nodes(server, second, ttl_s=3_000.0)
        async with Client(server.address, token="ann:1", reconnect_jitter_s=0.1) as client:
            nodes(second, third, ttl_s=3_000.0)
            await server.stop()
            await until(lambda: "/v1/endpoints" in second.requests and client.connected)
            assert second.hellos
            await second.stop()
            await until(lambda: bool(third.hellos))
        await server.start()
        await second.start()


async def test_the_front_balancer_is_the_last_resort_and_the_first_to_be_left_out_when_dead(
    server: ScriptedServer,
) -> None:
    """Direct endpoints have the weight; when they cannot be reached from here, the address they came from can."""
    async with another() as front:
        await server.stop()
        front.endpoints = [{"url": server.url, "weight": 100}, {"url": front.url, "weight": 0}]
        async with Client(front.address, token="ann:1") as client:
            assert client.connected
            assert len(front.hellos) == 1
        await server.start()
        async with Client(front.address, token="bob:1") as client:
            await front.stop()
            assert len(server.hellos) == 1
            await server.links[0].cut()
            await next_event(client, Resumed)
            assert len(server.hellos) == 2
        await front.start()


async def test_a_goaway_to_an_endpoint_that_is_dead_leads_to_another(server: ScriptedServer) -> None:
    async with another() as other, another() as dead:
        nodes(server, other)
        await dead.stop()
        async with Client(server.address, token="ann:1") as client:
            await server.links[0].end(Code.DRAINING, "maintenance", reconnect_in_ms=10, endpoint=dead.url)
            await next_event(client, Resumed)
            assert len(other.hellos) == 1
        await dead.start()


async def test_a_client_that_only_changes_its_beat_stays_where_it_is(server: ScriptedServer) -> None:
    async with another() as other:
        nodes(server, other)
        async with Client(server.address, token="ann:1") as client:
            client.background()
            await next_event(client, Resumed)
            client.foreground()
            await next_event(client, Resumed)
        assert (len(server.hellos), len(other.hellos)) == (3, 0)


async def test_a_token_source_that_fails_is_not_asked_all_the_time(server: ScriptedServer) -> None:
    """The endpoints are well, but that is no reason to hurry."""
    asked = 0

    def source() -> str:
        nonlocal asked
        asked += 1
        raise OSError("the back end is away")

    async with another() as other:
        nodes(server, other)
        clock = ManualClock()
        async with Runtime(clock=clock) as runtime:
            client = Client(server.address, token=source, runtime=runtime)
            await client.start()
            await turn_until(clock, lambda: clock.monotonic() > 20.0)
            assert 2 <= asked < 30
            await client.close()


async def test_closing_gives_up_what_is_being_dialled() -> None:
    async with frozen_server() as frozen:
        client = Client(frozen, token="ann:1")
        await client.start()
        await until(lambda: client.statistics().connection_attempts == 1)
        await client.close()


async def test_api_calls_go_to_another_address_when_the_first_is_dead(server: ScriptedServer) -> None:
    async with another() as other:
        async with Client([server.address, other.address], token="ann:1") as client:
            await server.stop()
            asked = client.conversation("room").info()
            with pytest.raises(Exception, match="404"):
                await asked
            assert any(path.startswith("/v1/conversations/room") for path in other.requests)
        await server.start()


async def sessions(node: LocalServer, count: int) -> bool:
    """True once the node has so many sessions."""
    async with (
        Runtime() as runtime,
        asyncio.timeout(10),
    ):  # the other end of a cut socket is given 5 s to close
        while True:
            told = await runtime.http.ask("GET", f"{node.url}/metrics", {})
            if f"posthouse_sessions {count:.1f}" in told.body.decode():
                return True
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("fault", ["reset", "half-open"])
async def test_a_real_node_behind_two_ways_keeps_one_session_when_one_way_breaks(
    tmp_path: Path, fault: str
) -> None:
    """Half-open: neither end is told. The beat notices, the other way is taken, and the old session makes way."""
    with LocalServer(folder=tmp_path) as node:
        token = Passes(node.data, SystemClock()).token("ann")
        ways = [FaultProxy(node.port, SystemClock(), random.Random(0)) for _ in range(2)]
        for way in ways:
            await way.start()
        urls = [f"ws://127.0.0.1:{way.port}" for way in ways]
        try:
            async with Client(urls, token=token, heartbeat_s=1, reconnect_jitter_s=0.1) as client:
                first = await next_event(client, Connected)
                if fault == "reset":
                    ways[0].reset()
                    await ways[0].close()
                else:
                    await ways[0].suffer(CUT)
                resumed = await next_event(client, Resumed)
                assert resumed.session != first.session
                assert client.connected
                assert await sessions(node, 1)
        finally:
            for way in ways:
                await way.close()


async def test_a_loser_that_never_answers_ends_quietly(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long after the race: nothing of it is left open, and nothing is reported that no application could handle."""
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.6)
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with frozen_server() as frozen:
        server.endpoints = [{"url": frozen, "weight": 1e9}, {"url": server.url, "weight": 1e-9}]
        async with Client(server.address, token="ann:1") as client:
            assert client.connected
            before = len(asyncio.all_tasks())
            await until(lambda: len(asyncio.all_tasks()) < before)
        gc.collect()
        assert reported == []
