"""The rendered configuration, before a real HAProxy: it is accepted, and does what its comments say."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from posthouse.cluster.haproxy import CHECK_INTERVAL_S, FALL, HaproxyPlan, Server, render
from posthouse.gateway.agent import Agent
from posthouse.kit.clock import SystemClock
from posthouse.testing.ports import free_ports

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
PATIENCE_S = 4 * CHECK_INTERVAL_S
LOOK_S = 0.1
HOLDS_S = 1.0
"""Long enough that connections made at once are open together, as sessions are."""

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)")


class Node:
    """Answers HTTP with its name, and the agent-check with what it is told to say."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.says = b"ready up 100%\n"
        self.ready_status = 200
        self.holds_s = 0.0
        self.port = 0
        self.agent = Agent(lambda: self.says)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        if not self.agent.port:
            await self.agent.start("127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status = self.ready_status if head.startswith(b"GET /readyz") else 200
        await SystemClock().sleep(self.holds_s)
        body = self.name.encode()
        writer.write(
            b"HTTP/1.1 %d OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        )
        writer.write(body)
        writer.close()


class Front:
    """HAProxy, and who answers through it."""

    def __init__(self, port: int, socket: Path, nodes: list[Node]) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.socket = socket
        self.nodes = nodes
        self.clock = SystemClock()

    async def asked(self, times: int = 60, at_once: int = 1) -> Counter[str]:
        """Who answers so many requests, so many at a time."""
        async with aiohttp.ClientSession() as session:
            answers: list[str] = []
            for _ in range(0, times, at_once):
                answers += await asyncio.gather(*(self._ask(session) for _ in range(at_once)))
        return Counter(answers)

    async def _ask(self, session: aiohttp.ClientSession) -> str:
        """Who answers. HAProxy cuts off what a node is just saying when it takes the node out."""
        async with session.get(self.url) as response:
            try:
                return await response.text() if response.status == 200 else str(response.status)
            except aiohttp.ClientPayloadError:
                return "cut off"

    async def until(
        self, condition: Callable[[Counter[str]], bool], within_s: float = PATIENCE_S
    ) -> Counter[str]:
        """The answers, once they are like that."""
        async with asyncio.timeout(within_s):
            while not condition(answers := await self.asked()):
                await self.clock.sleep(LOOK_S)
        return answers


@asynccontextmanager
async def front(folder: Path, balance: str = "leastconn") -> AsyncIterator[Front]:
    """Three nodes behind HAProxy."""
    nodes = [Node(f"n{number}") for number in (1, 2, 3)]
    for node in nodes:
        await node.start()
    port = next(free_ports())
    file, socket = folder / "haproxy.cfg", folder / "s"
    plan = HaproxyPlan(
        servers=tuple(Server(node.name, "127.0.0.1", node.port, node.agent.port) for node in nodes),
        bind=f"127.0.0.1:{port}",
        stats_socket=str(socket),
        balance=balance,  # type: ignore[arg-type]  # a parameter of the tests
        server_maxconn=100,
    )
    file.write_text(render(plan))
    assert HAPROXY is not None
    haproxy = await asyncio.create_subprocess_exec(
        HAPROXY, "-db", "-f", str(file), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        here = Front(port, socket, nodes)
        async with asyncio.timeout(PATIENCE_S):
            while not socket.exists():
                await here.clock.sleep(LOOK_S)
        yield here
    finally:
        haproxy.kill()
        await haproxy.wait()
        for node in nodes:
            node.agent.stop()
            await node.stop()


AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt").exists()


@pytest.mark.parametrize("balance", ["leastconn", "random(2)"])
@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_real_haproxy_accepts_the_file(tmp_path: Path, balance: str, count: int) -> None:
    """Also where a node ends TLS itself and HAProxy must ask whose certificate it is shown."""
    hosts = ("10.0.0.1", "fd00::2", "localhost")
    plan = HaproxyPlan(
        servers=tuple(
            Server(f"n-{n}.x_y", hosts[n], 8080, 9101 * (n != 1), AUTHORITIES and n == 2)
            for n in range(count)
        ),
        balance=balance,  # type: ignore[arg-type]  # a parameter of the test
        stats_socket=str(tmp_path / "s"),
    )
    file = tmp_path / "haproxy.cfg"
    file.write_text(render(plan))
    assert HAPROXY is not None
    checking = await asyncio.create_subprocess_exec(
        HAPROXY, "-c", "-f", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await checking.communicate()
    assert checking.returncode == 0, said.decode()
    if count:
        assert b"warning" not in said.lower(), said.decode()


@pytest.mark.parametrize("bind", [":8080", ":443 ssl crt /etc/haproxy/posthouse.pem alpn http/1.1"])
def test_how_tls_is_switched_on_is_told_only_where_it_is_off(bind: str) -> None:
    said = render(HaproxyPlan(servers=(Server("n1", "10.0.0.1", 8081, 8700),), bind=bind))
    lines = [line.strip(" #") for line in said.splitlines() if line.strip(" #")]
    assert [line for line in set(lines) if lines.count(line) > 1] == []
    (redirect,) = (line for line in said.splitlines() if "redirect scheme https" in line)
    assert redirect.lstrip().startswith("#") == ("ssl" not in bind)


@pytest.mark.parametrize("balance", ["leastconn", "random(2)"])
async def test_every_node_gets_its_part(tmp_path: Path, balance: str) -> None:
    async with front(tmp_path, balance) as here:
        assert set(await here.asked()) == {"n1", "n2", "n3"}


async def test_a_node_that_drains_gets_nobody_new_and_comes_back(tmp_path: Path) -> None:
    async with front(tmp_path) as here:
        here.nodes[0].says = b"drain\n"
        await here.until(lambda answers: set(answers) == {"n2", "n3"})
        here.nodes[0].says = b"maint\n"
        await here.clock.sleep(CHECK_INTERVAL_S)
        assert set(await here.asked()) == {"n2", "n3"}
        here.nodes[0].says = b"ready up 100%\n"
        await here.until(lambda answers: set(answers) == {"n1", "n2", "n3"})


async def test_a_node_whose_health_says_that_it_drains_gets_nobody_new_either(tmp_path: Path) -> None:
    """For a balancer that does not ask the agent: 404 of /readyz?draining=404 is no failure."""
    async with front(tmp_path) as here:
        here.nodes[1].ready_status = 404
        await here.until(lambda answers: set(answers) == {"n1", "n3"})
        state = await _states(here)
        assert state["n2"] == "NOLB"


async def test_a_node_that_ends_is_left_out_within_the_time_of_its_checks(tmp_path: Path) -> None:
    """And before that, whoever is sent there is sent to another."""
    async with front(tmp_path) as here:
        await here.nodes[2].stop()
        assert set(await here.asked()) == {"n1", "n2"}, "what was refused is asked elsewhere"
        async with asyncio.timeout(CHECK_INTERVAL_S * FALL + 1):
            while (await _states(here))["n3"] != "DOWN":
                await here.clock.sleep(LOOK_S)
        await here.nodes[2].start()
        await here.until(lambda answers: "n3" in answers)


async def test_a_node_that_is_not_ready_is_left_out(tmp_path: Path) -> None:
    async with front(tmp_path) as here:
        here.nodes[1].ready_status = 503
        await here.until(lambda answers: set(answers) == {"n1", "n3"})


async def test_a_lower_weight_shifts_new_connections(tmp_path: Path) -> None:
    async with front(tmp_path) as here:
        for node in here.nodes:
            node.holds_s = HOLDS_S
        even = await here.asked(60, at_once=60)
        here.nodes[0].says = b"ready up 10%\n"
        await here.clock.sleep(2 * CHECK_INTERVAL_S)
        shifted = await here.asked(60, at_once=60)
        assert even["n1"] == pytest.approx(20, abs=3)
        assert 0 < shifted["n1"] <= 8


async def _states(here: Front) -> dict[str, str]:
    """What HAProxy thinks of each node, from its stats socket."""
    reader, writer = await asyncio.open_unix_connection(here.socket)
    writer.write(b"show stat\n")
    lines = (await reader.read()).decode().removeprefix("# ").splitlines()
    writer.close()
    heads = lines[0].split(",")
    rows = [dict(zip(heads, line.split(","), strict=False)) for line in lines[1:] if line]
    return {row["svname"]: row["status"].split(" ")[0] for row in rows if row["pxname"] == "posthouse_nodes"}
