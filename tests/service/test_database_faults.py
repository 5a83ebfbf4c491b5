"""A database that cannot: sends are refused with a clear code, the node says why it is not ready, reads go on."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import apsw
import pytest

from posthouse.app import ports as ports_module
from posthouse.app.config.values import Config
from posthouse.kit.clock import Clock
from posthouse.protocol.codes import Code
from posthouse.storage.engines.postgres.database import PostgresDatabase
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from posthouse.testing.faults_sqlite import Disk
from posthouse.testing.postgres import LocalPostgres, fresh_database
from posthouse.testing.servers import LocalServer
from tests.service.site import PATIENCE_S, Line, Reply, Site, part, serving, site_of

MAIN = "main"
FILE = "posthouse.sqlite"


async def ready(site: Site, expected: bool) -> str:
    """Wait until the node is ready, or no longer; returns its reason."""

    async def verdict() -> Reply:
        return await site.rest("GET", "/readyz")

    async with asyncio.timeout(PATIENCE_S):
        while (reply := await verdict()).status != (200 if expected else 503):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert reply.body["ready"] is expected
    return str(reply.body["reason"])


async def refused_send(site: Site, line: Line, conv: str, code: Code) -> None:
    """A send is refused by WebSocket and by HTTP, with a code that says to repeat it; and counted."""
    before = await site.coded(code)
    refusal = await line.send(conv, "refused", made_at=line.welcome["at_ms"])
    assert (refusal["t"], refusal["code"]) == ("error", code), refusal
    assert refusal["retry_after_ms"] > 0
    assert await site.coded(code) == before + 1
    reply = await site.rest("POST", f"/v1/conversations/{part(conv)}/entries", {"body": {"text": "x"}})
    assert (reply.status, reply.body["code"]) == (503, code)


async def reads_are_served(site: Site, line: Line, conv: str, head: int) -> None:
    """By WebSocket and by HTTP, to those who are here and to those who come."""
    assert (await line.ask(t="fetch", conv=conv, after=0))["head"] == head
    assert [item["conv"] for item in (await line.ask(t="list"))["items"]] == [conv]
    newcomer = await site.enter("ben", "newcomer")
    assert (await newcomer.ask(t="fetch", conv=conv))["head"] == head
    assert (await site.rest("GET", f"/v1/conversations/{part(conv)}/entries", user="ann")).status == 200


async def recovered(site: Site, line: Line, conv: str, head: int) -> None:
    """The refused send, repeated, is in the log once and in its place."""
    await ready(site, True)
    ack = await line.send(conv, "refused", made_at=line.welcome["at_ms"])
    assert (ack["t"], ack["seq"]) == ("ack", head + 1)


@asynccontextmanager
async def talking(site: Site) -> AsyncIterator[tuple[Line, str]]:
    """A conversation with one message, and a session in it."""
    conv = await site.group("ann", "ben")
    ann = await site.enter("ann")
    await ann.send(conv, "before")
    yield ann, conv


# SQLite -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """The disk that nodes of this test keep their SQLite file on."""

    def on_disk(config: Config, clock: Clock) -> dict[str, SqliteDatabase]:
        return {MAIN: SqliteDatabase(Path(config.data.folder) / FILE, clock, vfs=disk.name)}

    with Disk(Random(1)) as disk:
        monkeypatch.setattr(ports_module, "engines", on_disk)
        yield disk


async def test_a_full_disk_on_sqlite(disk: Disk, tmp_path: Path) -> None:
    async with serving(tmp_path) as site, talking(site) as (ann, conv):
        disk.writes_fail = apsw.FullError
        assert "full" in await ready(site, False)
        await refused_send(site, ann, conv, Code.STORAGE_FULL)
        cursor = await ann.ask(t="cursor", cursors=[{"conv": conv, "read": 1}])
        assert (cursor["t"], cursor["code"]) == ("error", Code.STORAGE_FULL)
        await reads_are_served(site, ann, conv, 2)
        disk.writes_fail = None
        await recovered(site, ann, conv, 2)


async def test_a_file_system_that_turns_read_only_under_sqlite(disk: Disk, tmp_path: Path) -> None:
    async with serving(tmp_path) as site, talking(site) as (ann, conv):
        disk.read_only = True
        assert "read-only" in await ready(site, False)
        await refused_send(site, ann, conv, Code.STORAGE_FULL)
        await reads_are_served(site, ann, conv, 2)
        disk.read_only = False
        await recovered(site, ann, conv, 2)


async def test_a_node_that_starts_on_a_full_disk_serves_reads_and_says_why_it_is_not_ready(
    disk: Disk, tmp_path: Path
) -> None:
    async with serving(tmp_path) as site, talking(site) as (_, conv):
        pass
    disk.writes_fail = apsw.FullError
    async with serving(tmp_path) as site:
        assert "full" in await ready(site, False)
        ann = await site.enter("ann")
        await refused_send(site, ann, conv, Code.STORAGE_FULL)
        await reads_are_served(site, ann, conv, 2)
        disk.writes_fail = None
        await recovered(site, ann, conv, 2)


async def test_a_disk_that_takes_no_more_bytes_under_a_server(tmp_path: Path) -> None:
    """The operating system says no in the middle of a write; nothing is acknowledged and nothing is torn."""
    with LocalServer(tmp_path) as server:
        async with site_of(server) as site, talking(site) as (ann, conv):
            size = (server.data / f"{FILE}-wal").stat().st_size
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size + 2_000, resource.RLIM_INFINITY))
            await ready(site, False)
            await refused_send(site, ann, conv, Code.UNAVAILABLE)
            await reads_are_served(site, ann, conv, 2)
            resource.prlimit(
                server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            await recovered(site, ann, conv, 2)
            server.kill()
            server.start()
            again = await site.enter("ann")
            page = await again.ask(t="fetch", conv=conv, after=1)
            assert [entry["client_id"] for entry in page["entries"]] == ["before", "refused"]


def damage(path: Path, table: str) -> None:
    """Overwrite the pages that hold a table's rows."""
    connection = apsw.Connection(str(path))
    page_size = connection.pragma("page_size")
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).get
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * page_size)
        file.write(b"\xff" * page_size)


async def test_a_damaged_page_on_sqlite(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, talking(site) as (_, conv):
        pass
    damage(tmp_path / FILE, "entry")
    async with serving(tmp_path) as site:
        ann = await site.enter("ann")
        before = await site.coded(Code.CORRUPT)
        refusal = await ann.ask(t="fetch", conv=conv, after=0)
        assert (refusal["t"], refusal["code"]) == ("error", Code.CORRUPT)
        assert await site.coded(Code.CORRUPT) == before + 1
        reply = await site.rest("GET", f"/v1/conversations/{conv}/entries", user="ann")
        assert (reply.status, reply.code) == (500, "corrupt")
        assert "damaged" in await ready(site, False)
        await refused_send(site, ann, conv, Code.UNAVAILABLE)
        facts = await site.rest("GET", f"/v1/conversations/{conv}", user="ann")
        assert (facts.status, facts.body["head"]) == (200, 2), "what lies on whole pages is still served"
        await site.enter("ben")


# PostgreSQL -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def on_postgres(folder: Path) -> AsyncIterator[tuple[Site, LocalPostgres]]:
    """A node on a PostgreSQL of its own, to be done harm to."""
    with LocalPostgres(settings={"fsync": False}) as postgres, fresh_database(postgres) as dsn:
        async with serving(folder, dsn) as site:
            yield site, postgres


async def test_a_read_only_postgresql(tmp_path: Path) -> None:
    """How a managed service stops a full disk from growing."""
    async with on_postgres(tmp_path) as (site, postgres), talking(site) as (ann, conv):
        postgres.configure(default_transaction_read_only=True)
        assert "read-only" in await ready(site, False)
        await refused_send(site, ann, conv, Code.STORAGE_FULL)
        await reads_are_served(site, ann, conv, 2)
        postgres.configure(default_transaction_read_only=False)
        await recovered(site, ann, conv, 2)


async def test_a_postgresql_that_is_away_for_a_while(tmp_path: Path) -> None:
    """Sessions stay; what was sent meanwhile is repeated; nobody misses what comes after."""
    async with on_postgres(tmp_path) as (site, postgres), talking(site) as (ann, conv):
        ben = await site.enter("ben")
        await asyncio.to_thread(postgres.stop)
        await ready(site, False)
        await refused_send(site, ann, conv, Code.UNAVAILABLE)
        assert (await ann.ask(t="fetch", conv=conv))["code"] == Code.UNAVAILABLE
        outside = await site.call()
        assert (await outside.hello(site.token("cyd")))["code"] == Code.OVERLOADED
        await asyncio.to_thread(postgres.start)
        await recovered(site, ann, conv, 2)
        assert await ben.caught_up(conv, 3) == [3]


async def test_a_postgresql_that_hangs_leaves_a_doubt_that_is_settled(tmp_path: Path) -> None:
    """A commit without a certain answer is refused for now; it is in the log once, however it turned out (G2), and
    who did not hear of it from a bus hears of it from the feed (G4)."""
    async with on_postgres(tmp_path) as (site, postgres), talking(site) as (ann, conv):
        ben = await site.enter("ben")
        database = site.node.parts.ports.databases[MAIN]
        assert isinstance(database, PostgresDatabase)
        database._writer._timeout_s = 0.5
        postgres.freeze()
        await ann.post(conv, "refused", made_at=ann.welcome["at_ms"])
        await ann.until(lambda: ann.answers("refused"))
        assert ann.answers("refused")[0]["code"] == Code.UNAVAILABLE
        postgres.thaw()
        await recovered(site, ann, conv, 2)
        assert await ben.caught_up(conv, 3) == [3]


def test_signals_of_the_limit_are_not_deadly() -> None:
    """Python ignores SIGXFSZ, so a write beyond the limit is an error, as on a full disk, and not the end."""
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
