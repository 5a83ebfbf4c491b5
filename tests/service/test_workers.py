"""`posthouse up --workers 2` on a real PostgreSQL and a real Valkey: two nodes on one port, whatever befalls them."""

import asyncio
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from posthouse.app.secrets import load_or_create
from posthouse.testing.postgres import LocalPostgres, fresh_database
from posthouse.testing.servers import LocalServer
from posthouse.testing.valkey import LocalValkey
from tests.service.site import Line, Site, site_of

PATIENCE_S = 40.0
WORKERS = 2


class Crew:
    """The server, seen from outside: its processes, and each worker at its own port."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.server.pid).children()

    def pid(self, number: int) -> int:
        """Of the worker with that number; 0 when there is none."""
        for process in self.processes():
            with suppress(psutil.Error):
                arguments = process.cmdline()
                if "--worker" in arguments and arguments[arguments.index("--worker") + 1] == str(number):
                    return process.pid
        return 0

    def ready(self, number: int) -> bool:
        """Asked at the worker's own port."""
        url = f"http://127.0.0.1:{self.server.port + number}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return bool(json.load(answer)["ready"])
        except OSError:
            return False

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other processes tell nobody
                await asyncio.sleep(0.05)

    def knows_all(self, number: int) -> bool:
        """A worker learns of another within a second."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.server.port + number}/metrics", timeout=5
        ) as answer:
            return f"posthouse_nodes_live {WORKERS}.0\n" in answer.read().decode()

    def endpoints(self) -> set[str]:
        """Where clients are told to go."""
        with urllib.request.urlopen(f"{self.server.url}/v1/endpoints", timeout=5) as answer:
            return {each["url"] for each in json.load(answer)["endpoints"]}

    async def all_ready(self) -> None:
        numbers = range(1, WORKERS + 1)
        await self.until(lambda: all(map(self.ready, numbers)) and all(map(self.knows_all, numbers)))

    async def replaced(self, number: int, before: int) -> None:
        await self.until(lambda: self.pid(number) not in (0, before) and self.ready(number))


@pytest.fixture
def server(postgres: LocalPostgres, tmp_path: Path) -> Iterator[LocalServer]:
    with LocalValkey() as cache, fresh_database(postgres) as dsn:
        settings = {
            "cache.url": cache.url,
            "workers.count": WORKERS,
            "workers.hung_after_s": 5.0,
            "listen.public_url": "http://localhost",
            "drain.window_s": 0.5,
            "drain.gather_s": 0.1,
            "canary.interval_s": 1.0,
        }
        server = LocalServer(tmp_path, database=dsn, settings=settings)
        load_or_create(server.data)
        with server:
            yield server


async def enter_all(site: Site) -> dict[str, Line]:
    """One connection to each worker, by the name of its node: the kernel chooses, so some more are made."""
    lines: dict[str, Line] = {}
    for number in range(50):
        line = await site.enter("ann", f"device-{number}")
        lines.setdefault(line.welcome["node"], line)
        if len(lines) == WORKERS:
            return lines
    raise AssertionError(f"all connections went to {list(lines)}")


@pytest.mark.timeout(120)
async def test_each_worker_is_a_node_and_both_serve_one_port(server: LocalServer) -> None:
    crew = Crew(server)
    await crew.all_ready()
    own = {f"ws://localhost:{server.port + number}/v1/ws" for number in (1, 2)}
    assert await asyncio.to_thread(crew.endpoints) == own, "clients can be sent to either"
    async with site_of(server) as site:
        lines = await enter_all(site)
        assert {name[-2:] for name in lines} == {"-1", "-2"}
        conv = await site.group("ann", "ben")
        first, second = lines.values()
        await first.send(conv, "across")
        await second.until(lambda: any(e["entry"]["client_id"] == "across" for e in second.all("entry")))


@pytest.mark.timeout(120)
async def test_a_killed_worker_and_a_frozen_one_are_replaced_while_the_other_serves(
    server: LocalServer,
) -> None:
    crew = Crew(server)
    await crew.all_ready()
    other = crew.pid(1)
    for signal_number in (signal.SIGKILL, signal.SIGSTOP):
        before = crew.pid(2)
        os.kill(before, signal_number)
        await crew.replaced(2, before)
        assert not psutil.pid_exists(before)
    assert crew.pid(1) == other
    log = server.log.read_text()
    assert "it ended: killed by SIGKILL" in log
    assert "its event loop gave no sign of life for" in log
    assert '"kind": "worker"' in log, "the audit is told what a worker was started for"


@pytest.mark.timeout(120)
async def test_sighup_restarts_them_one_after_the_other_and_somebody_always_serves(
    server: LocalServer,
) -> None:
    crew = Crew(server)
    await crew.all_ready()
    before = {number: crew.pid(number) for number in (1, 2)}
    os.kill(server.pid, signal.SIGHUP)
    served: list[bool] = []

    def done() -> bool:
        """The first is asked once more: it may have come up, and the second gone down, between two questions."""
        served.append(crew.ready(1) or crew.ready(2) or crew.ready(1))
        new = all(crew.pid(number) not in (0, before[number]) for number in (1, 2))
        return new and crew.ready(1) and crew.ready(2)

    await crew.until(done)
    assert all(served)


@pytest.mark.timeout(120)
async def test_sigterm_ends_all_in_order_and_leaves_no_orphan(server: LocalServer) -> None:
    crew = Crew(server)
    await crew.all_ready()
    async with site_of(server) as site:
        line = await site.enter("ann")
        pids = [process.pid for process in crew.processes()]
        assert len(pids) == WORKERS
        await asyncio.to_thread(server.stop)
        await line.end()
    assert not any(map(psutil.pid_exists, pids))
    text = server.log.read_text()
    assert text.count('"status": "exit status 0"') == WORKERS
    assert "Traceback" not in text


@pytest.mark.timeout(120)
async def test_workers_end_when_their_supervisor_was_killed(server: LocalServer) -> None:
    crew = Crew(server)
    await crew.all_ready()
    pids = [process.pid for process in crew.processes()]
    os.kill(server.pid, signal.SIGKILL)
    await crew.until(lambda: not any(map(_runs, pids)))


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
