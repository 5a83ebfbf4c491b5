"""Several processes on one port: each also has a port of its own, and one that leaves takes no more connections."""

import errno
from collections import Counter

import aiohttp
import pytest
from aiohttp import web

from posthouse.gateway.connections import SocketLimits
from posthouse.gateway.listener import Listener
from posthouse.gateway.upgrade import Refusal
from posthouse.kit.clock import SystemClock
from posthouse.testing.ports import free_ports
from tests.gateway.peers import HOST


class Worker:
    """A listener that answers with its own name."""

    def __init__(self, name: str) -> None:
        async def answer(request: web.BaseRequest) -> web.Response:
            return web.Response(text=name)

        self.http = web.Server(answer, access_log=None)
        self.listener = Listener(
            SocketLimits(), lambda *_: Refusal(403, "not here"), self.http, clock=SystemClock()
        )

    async def stop(self) -> None:
        await self.http.shutdown(0)
        await self.listener.stop()


async def ask(port: int) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://{HOST}:{port}/") as response:
        return await response.text()


async def test_connections_to_the_shared_port_are_spread_and_each_has_a_port_of_its_own() -> None:
    port, *direct = (number for number, _ in zip(free_ports(), range(3), strict=False))
    workers = [Worker("a"), Worker("b")]
    for worker, own in zip(workers, direct, strict=True):
        await worker.listener.start(HOST, port, direct_port=own)
    answers = Counter([await ask(port) for _ in range(60)])
    assert set(answers) == {"a", "b"}
    assert [await ask(own) for own in direct] == ["a", "b"]
    workers[0].listener.leave_shared()
    assert {await ask(port) for _ in range(30)} == {"b"}
    assert await ask(direct[0]) == "a"
    for worker in workers:
        await worker.stop()


async def test_a_direct_port_that_is_taken_leaves_nothing_behind() -> None:
    port, direct = (number for number, _ in zip(free_ports(), range(2), strict=False))
    first, second = Worker("a"), Worker("b")
    await first.listener.start(HOST, port, direct_port=direct)
    with pytest.raises(OSError, match=str(direct)) as caught:
        await second.listener.start(HOST, port, direct_port=direct)
    assert caught.value.errno == errno.EADDRINUSE
    assert {await ask(port) for _ in range(20)} == {"a"}
    await first.stop()
