"""Dependencies that are wrong or missing: named at the start; at run time not ready where it matters, and no crash.

All servers are real ones in processes of their own.
"""

import asyncio
import json
import random
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from posthouse.app.secrets import load_or_create
from posthouse.kit.clock import SystemClock
from posthouse.testing.faultproxy import CUT, NONE, FaultProxy
from posthouse.testing.ports import free_ports
from posthouse.testing.postgres import LocalPostgres, fresh_database
from posthouse.testing.servers import LocalServer
from posthouse.testing.valkey import LocalValkey
from tests.service.site import site_of

PATIENCE_S = 40.0
NOBODY = "redis://127.0.0.1:1/0"


# At the start ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache() -> Iterator[LocalValkey]:
    with LocalValkey(password="open-says-me") as cache:
        yield cache


@pytest.fixture
def dsn(postgres: LocalPostgres) -> Iterator[str]:
    with fresh_database(postgres) as dsn:
        yield dsn


class Start:
    """`posthouse up` that is to fail: what it says, and how it ends."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"

    def up(self, **settings: object) -> str:
        """What it wrote to standard error; it must have ended by itself, with 1, and without a traceback."""
        own = {"data.folder": self.data, "listen.port": 0, "log.level": "error", **settings}
        environment = {f"POSTHOUSE_{key.replace('.', '_').upper()}": str(value) for key, value in own.items()}
        done = subprocess.run(
            [sys.executable, "-m", "posthouse", "up"],
            env=environment | {"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "Traceback" not in done.stderr
        return done.stderr

    def with_keys(self) -> "Start":
        load_or_create(self.data)
        return self


@pytest.fixture
def starting(tmp_path: Path) -> Start:
    return Start(tmp_path)


def test_a_database_that_nobody_serves(starting: Start) -> None:
    said = starting.up(**{"database.url": "postgresql://u:sesame@127.0.0.1:1/x"})
    assert "No PostgreSQL answers at 127.0.0.1:1/x" in said
    assert "start it, or correct the database's address" in said
    assert "sesame" not in said


def test_a_database_that_does_not_exist(starting: Start, dsn: str) -> None:
    assert "does not exist. Create it with createdb." in starting.up(**{"database.url": f"{dsn}_nowhere"})


def test_a_user_whom_the_database_does_not_know(starting: Start, dsn: str) -> None:
    parts = urlsplit(dsn)
    url = f"postgresql://nobody:sesame@{parts.hostname}:{parts.port}{parts.path}"
    said = starting.up(**{"database.url": url})
    assert "refuses the user or password" in said
    assert "sesame" not in said


def test_a_cache_that_nobody_serves(starting: Start, dsn: str) -> None:
    said = starting.with_keys().up(**{"database.url": dsn, "cache.url": NOBODY})
    assert "cache.url" in said
    assert "127.0.0.1:1 cannot be reached" in said
    assert "Start it, or correct its address." in said


def test_a_cache_with_another_password(starting: Start, dsn: str, cache: LocalValkey) -> None:
    url = f"redis://:sesame@127.0.0.1:{cache.port}/0"
    said = starting.with_keys().up(**{"database.url": dsn, "cache.url": url})
    assert "refuses user and password" in said
    assert "sesame" not in said


def test_secrets_that_all_nodes_must_share(starting: Start, dsn: str, cache: LocalValkey) -> None:
    said = starting.up(**{"database.url": dsn, "cache.url": cache.url})
    assert "secrets.json: missing, and not generated" in said
    assert "auth.resume_secret" in said


def test_a_direct_port_that_is_taken(starting: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = starting.up(**{"listen.port": next(free_ports()), "listen.direct_port": port})
    assert f"Port {port} of 127.0.0.1 is taken." in said


def test_workers_without_what_they_must_share(starting: Start, dsn: str) -> None:
    said = starting.up(**{"workers.count": 2})
    assert (
        "2 workers need a PostgreSQL (database.url, or --database) and a Redis or Valkey (cache.url)" in said
    )
    said = starting.up(**{"workers.count": 2, "database.url": dsn})
    assert "2 workers need a Redis or Valkey (cache.url) that they share." in said


def test_workers_that_clients_could_not_tell_apart(starting: Start, dsn: str) -> None:
    own = {"workers.count": 2, "database.url": dsn, "cache.url": NOBODY}
    said = starting.up(**own, **{"listen.public_url": "https://n1.example"})
    assert "listen.public_url https://n1.example leads to any of 2 workers" in said
    assert "listen.front_url" in said


def test_workers_that_cannot_start_give_up_and_say_why(starting: Start, dsn: str) -> None:
    said = starting.with_keys().up(
        **{"workers.count": 2, "database.url": dsn, "cache.url": NOBODY, "listen.port": next(free_ports())}
    )
    assert "127.0.0.1:1 cannot be reached" in said
    assert "Worker 1 was started 3 times and never was ready: it ended: exit status 1." in said


# At run time. Nobody starts these nodes again: one that answers has not crashed --------------------------------------


def readiness(server: LocalServer) -> tuple[int, dict[str, Any]]:
    """What /readyz answers."""
    try:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        return answer.code, json.load(answer)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other processes tell nobody
            await asyncio.sleep(0.05)


def says(server: LocalServer, status: int, *words: str) -> bool:
    found, body = readiness(server)
    return found == status and all(word in body["reason"] for word in words)


class Pair:
    """Two nodes on one database and one cache; the second reaches the database through a proxy."""

    def __init__(
        self, nodes: list[LocalServer], database: LocalPostgres, cache: LocalValkey, proxy: FaultProxy
    ) -> None:
        self.first, self.second = nodes
        self.database = database
        self.cache = cache
        self.proxy = proxy

    async def know_each_other(self) -> None:
        def known() -> bool:
            return all("posthouse_nodes_live 2.0" in self.metrics(node) for node in (self.first, self.second))

        await until(known)

    def metrics(self, node: LocalServer) -> str:
        with urllib.request.urlopen(f"{node.url}/metrics", timeout=5) as answer:
            return str(answer.read().decode())


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    with LocalPostgres() as database, LocalValkey() as cache:
        dsn = await asyncio.to_thread(database.create_database, "pair")
        proxy = FaultProxy(urlsplit(dsn).port or 0, SystemClock(), random.Random(1))
        await proxy.start()
        through = dsn.replace(f":{proxy.target}", f":{proxy.port}")
        settings = {"cache.url": cache.url, "canary.interval_s": 1.0, "drain.window_s": 0.1}
        nodes = [
            LocalServer(folder / name, database=url, settings={**settings, "node.name": name})
            for name, url in (("n1", dsn), ("n2", through))
        ]
        secrets = load_or_create(nodes[0].data)
        nodes[1].data.mkdir(parents=True)
        (nodes[1].data / "secrets.json").write_bytes((nodes[0].data / "secrets.json").read_bytes())
        assert secrets.kid
        try:
            for node in nodes:
                await asyncio.to_thread(node.start)
            found = Pair(nodes, database, cache, proxy)
            await found.know_each_other()
            yield found
        finally:
            for node in nodes:
                await asyncio.to_thread(node.close)
            await proxy.close()


@pytest.mark.timeout(180)
async def test_a_fault_of_one_node_takes_it_out_and_a_fault_of_all_takes_nobody_out(tmp_path: Path) -> None:
    async with pair(tmp_path) as nodes:
        await nodes.proxy.suffer(CUT)
        await until(lambda: says(nodes.second, 503, "the database", "unlike on n1"))
        assert readiness(nodes.first)[0] == 200
        await nodes.proxy.suffer(NONE)
        await until(lambda: says(nodes.second, 200, "the database answers and commits"))
        await asyncio.to_thread(nodes.database.kill)
        statuses: set[int] = set()

        def both_see_it() -> bool:
            found = [readiness(node) for node in (nodes.first, nodes.second)]
            statuses.update(status for status, _ in found)
            return all("degraded: the database" in body["reason"] for _, body in found)

        await until(both_see_it)
        for _ in range(100):  # and their reports, and what each thinks of the other's, have gone to and fro
            both_see_it()
            await asyncio.sleep(0.05)
        assert statuses == {200}, "not even for a moment"
        await asyncio.to_thread(nodes.database.start)
        for node in (nodes.first, nodes.second):
            await until(lambda node=node: says(node, 200, "the database answers and commits"))  # type: ignore[misc]


@pytest.mark.timeout(180)
async def test_without_the_cache_nodes_stay_ready_say_so_and_deliver(tmp_path: Path) -> None:
    async with pair(tmp_path) as nodes, site_of(nodes.first) as here, site_of(nodes.second) as there:
        conv = await here.group("ann", "ben")
        ann, ben = await here.enter("ann"), await there.enter("ben")
        await asyncio.to_thread(nodes.cache.kill)
        for node in (nodes.first, nodes.second):
            await until(lambda node=node: says(node, 200, "degraded", "the cache does not answer"))  # type: ignore[misc]
        await ann.send(conv, "by the slower path")
        await ben.until(
            lambda: [f for f in ben.all("entry") if f["entry"]["client_id"] == "by the slower path"]
        )
        await asyncio.to_thread(nodes.cache.start)
        for node in (nodes.first, nodes.second):
            await until(lambda node=node: says(node, 200, "the database answers and commits"))  # type: ignore[misc]
