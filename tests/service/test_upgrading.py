"""A release beside the one before it on one database, and on one cache: that is what a rolling upgrade is made of.

The release before is taken from the history: the oldest whose code the newest migration says still works, which knows
no shared cache; and, on a shared one, the last before the newest change of what nodes say to each other.
"""

import asyncio
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.app.secrets import load_or_create
from posthouse.storage.engines.postgres import schema
from posthouse.testing.postgres import LocalPostgres, fresh_database
from posthouse.testing.releases import NoHistory, commit_before, commit_before_words, unpack
from posthouse.testing.servers import LocalServer
from posthouse.testing.valkey import LocalValkey
from tests.service.site import PATIENCE_S, Line, Site, site_of

SETTINGS = {"log.level": "warning"}


@pytest.fixture(params=["database", "cache"])
def shared(request: pytest.FixtureRequest) -> str:
    """Over what the two releases meet, beside what users see."""
    return str(request.param)


@pytest.fixture
def before(shared: str, tmp_path: Path) -> Path:
    """The source of the release before, to be put on Python's path; skipped where there is no history to ask."""
    works_with = schema.works_with(schema.migrations()[-1])
    try:
        commit = commit_before(works_with + 1) if shared == "database" else commit_before_words()
        return unpack(commit, tmp_path / "before")
    except NoHistory as error:
        pytest.skip(str(error))


class OlderServer(LocalServer):
    """A server that runs other source than this one."""

    source: Path

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"PYTHONPATH": str(self.source)}


@pytest.fixture
def nodes(shared: str, before: Path, tmp_path: Path) -> Iterator[tuple[OlderServer, LocalServer]]:
    """A node of the release before, which has set the database up, and one of this release, which has migrated it."""
    with (
        LocalPostgres(settings={"fsync": False}) as postgres,
        fresh_database(postgres) as dsn,
        LocalValkey() as cache,
    ):
        settings = SETTINGS | ({"cache.url": cache.url} if shared == "cache" else {})
        older = OlderServer(tmp_path / "older", database=dsn, settings=settings)
        older.source = before
        load_or_create(older.data)
        newer = LocalServer(tmp_path / "newer", database=dsn, settings=settings)
        with older:
            newer.data.mkdir(parents=True)
            shutil.copy(older.data / "secrets.json", newer.data)
            with newer:
                yield older, newer


async def talk(first: Line, second: Line, conv: str, text: str) -> None:
    """Each says something that the other hears, on whichever node it is."""
    for speaker, listener in ((first, second), (second, first)):
        ack = await speaker.send(conv, f"{text} {id(speaker)}")
        assert ack["t"] == "ack", ack
        await listener.until(lambda ack=ack, listener=listener: ack["seq"] in listener.seqs(conv))  # type: ignore[misc]


async def see_each_other(*servers: LocalServer) -> None:
    """Each counts all as live, so reports of the one release are read by the other."""

    def seen(server: LocalServer) -> bool:
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as answer:
            return f"posthouse_nodes_live {len(servers)}.0\n" in answer.read().decode()

    async with asyncio.timeout(PATIENCE_S):
        for server in servers:
            while not await asyncio.to_thread(seen, server):  # noqa: ASYNC110 - other processes tell nobody
                await asyncio.sleep(0.1)


async def whole_log(site: Site, conv: str) -> list[int]:
    return [
        entry["seq"]
        for entry in (await (await site.enter("cyd")).ask(t="fetch", conv=conv, after=0))["entries"]
    ]


@pytest.mark.timeout(120)  # four starts of servers, and clients of two nodes hear of each other by the feed
async def test_nodes_are_upgraded_one_by_one_while_people_chat(
    nodes: tuple[OlderServer, LocalServer], shared: str
) -> None:
    """The older node works on beside the newer, starts again on the migrated database, and is then replaced."""
    older, newer = nodes
    async with site_of(older) as old, site_of(newer) as new:
        if shared == "cache":
            await see_each_other(older, newer)
        conv = await old.group("ann", "ben", "cyd")
        ann, ben = await old.enter("ann"), await new.enter("ben")
        await talk(ann, ben, conv, "side by side")
        await asyncio.to_thread(older.stop)
        await asyncio.to_thread(older.start)
        ann = await old.back(ann, "ann", {"~ann": 1, conv: max(ann.seqs(conv))})
        assert ann.welcome["resumed"]
        other = await new.group("ann", "ben", "cyd")
        await talk(ann, ben, conv, "started again")
        await talk(ann, ben, other, "made by the newer")
        await asyncio.to_thread(older.stop)
        assert "Traceback" not in older.log_tail(200)
        upgraded = LocalServer(older.folder, database=older.database, settings=older.settings)
        upgraded.port = older.port
        with upgraded:
            ann = await old.back(ann, "ann", {"~ann": 2, conv: 5, other: 3})
            assert ann.welcome["resumed"]
            await talk(ann, ben, conv, "upgraded")
            assert await whole_log(new, conv) == await whole_log(old, conv) == list(range(1, 8))
