"""Starting and stopping a node: in order, in time, and with nothing acknowledged that is not kept."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from posthouse.app import parts as parts_module
from posthouse.app.config.values import Config, Data, Listen
from posthouse.app.lock import FolderInUse
from posthouse.app.node import Node
from posthouse.kit.tasks import start
from posthouse.protocol.codes import Code
from posthouse.storage.base import StorageUnavailable
from tests.service.site import Line, Site, serving


class Gate:
    """Holds back the answers of a database's method: the work is done, the word of it does not come."""

    def __init__(self, owner: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        inner: Callable[..., Any] = getattr(owner, method)

        async def held(*args: Any, **kwargs: Any) -> Any:
            self.entered.set()
            await self.open.wait()
            return await inner(*args, **kwargs)

        monkeypatch.setattr(owner, method, held)


async def test_every_session_is_told_that_the_node_stops_and_when_to_come_back(site: Site) -> None:
    lines = [await site.enter(f"u{number}") for number in range(10)]
    new = await site.call()
    await site.node.stop()
    assert [await line.end() for line in (*lines, new)] == [Code.NODE_STOPPING] * 11
    waits = [line.all("goaway")[-1].get("reconnect_in_ms", 0) for line in (*lines, new)]
    assert len(set(waits)) == 11, "spread, so that they do not come back all at once"


async def test_connections_without_work_do_not_hold_up_the_stop(embedded: Site) -> None:
    """Scrapers and browsers keep their connections open: nobody has to be cut off for them."""
    async with aiohttp.ClientSession() as http:
        for _ in range(3):
            async with http.get(f"{embedded.url}/healthz") as response:
                assert response.status == 200
        line = await embedded.enter("ann")
        await embedded.node.stop()
        await line.end()
    listener = embedded.node._listener
    assert listener is not None
    assert listener.statistics()["close_timeouts"] == 0


async def test_what_is_being_committed_is_committed_and_nothing_is_said_after_goodbye(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, database) as site:
        conv = await site.group("ann", "ben")
        ann = await site.enter("ann")
        gate = Gate(site.node.database, "append", monkeypatch)
        await ann.post(conv, "in flight", made_at=ann.welcome["at_ms"])
        await gate.entered.wait()
        for number in range(5):
            await ann.post(conv, f"waiting {number}", made_at=ann.welcome["at_ms"])
        await ann.quiet()
        stopping = start(site.node.stop())
        await ann.end()
        gate.open.set()
        await stopping
        assert ann.all("ack") == []
        assert ann.heard[-1]["t"] == "goaway"
    monkeypatch.undo()
    async with serving(tmp_path, database) as site:
        again = await site.enter("ann")
        page = await again.ask(t="fetch", conv=conv, after=1)
        assert [entry["client_id"] for entry in page["entries"]] == [
            "in flight",
            *(f"waiting {n}" for n in range(5)),
        ]


async def test_what_was_acknowledged_before_a_stop_under_load_is_kept(database: str, tmp_path: Path) -> None:
    async with serving(tmp_path, database) as site:
        convs = [await site.group("ann", "ben") for _ in range(3)]
        lines = [await site.enter("ann", f"d{number}") for number in range(3)]

        async def talk(line: Line, conv: str) -> None:
            with suppress(AssertionError):
                for number in range(10_000):
                    await line.post(conv, f"m{number}")
                    await line.until(partial(has_acks, line, number - 20))

        talking = [start(talk(line, conv)) for line, conv in zip(lines, convs, strict=True)]
        await asyncio.gather(*(line.until(partial(has_acks, line, 50)) for line in lines))
        await site.node.stop()
        await asyncio.gather(*talking, *(line.end() for line in lines))
    async with serving(tmp_path, database) as site:
        for line, conv in zip(lines, convs, strict=True):
            log = await whole_log(await site.enter("ann"), conv)
            assert [entry["client_id"] for entry in log] == [f"m{number}" for number in range(len(log))]
            acked = {frame["client_id"]: frame["seq"] for frame in line.all("ack")}
            assert acked.items() <= {entry["client_id"]: entry["seq"] for entry in log}.items()


async def test_a_request_under_way_over_http_is_answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    conv = await site.group("ann")
    gate = Gate(site.node.database, "append", monkeypatch)
    asking = start(site.rest("POST", f"/v1/conversations/{conv}/entries", {"body": {"text": "x"}}))
    await gate.entered.wait()
    stopping = start(site.node.stop())
    await asyncio.sleep(0)
    gate.open.set()
    assert (await asking).body["seq"] == 2
    await stopping


# When something goes wrong ----------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "STEP_TIMEOUT_S", 0.2)
    monkeypatch.setattr(parts_module, "CLOSE_TIMEOUT_S", 1.0)


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_hangs_does_not_keep_the_node_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as site:
        conv = await site.group("ann")
        ann = await site.enter("ann")
        for method in ("append", "advance", "read"):
            Gate(site.node.database, method, monkeypatch)
        await ann.post(conv, "never answered")
        await ann.say(t="cursor", ref=1, cursors=[{"conv": conv, "read": 1}])
        await ann.say(t="fetch", ref=2, conv=conv)
        await ann.quiet()
        await site.node.stop()
        assert await ann.end() == Code.NODE_STOPPING
    monkeypatch.undo()
    async with serving(tmp_path) as again:
        assert (await (await again.enter("ann")).ask(t="fetch", conv=conv))["head"] == 1


async def test_a_step_that_fails_keeps_no_other_from_being_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as site:
        ann = await site.enter("ann")

        async def fail() -> None:
            raise StorageUnavailable("away")

        monkeypatch.setattr(site.node.parts.receipts, "flush", fail)
        monkeypatch.setattr(site.node.parts.commit, "drained", fail)
        await site.node.stop()
        assert await ann.end() == Code.NODE_STOPPING
        with pytest.raises(StorageUnavailable):
            await site.node.database.read("app", "c", None, limit=1)
    async with serving(tmp_path) as again:
        await again.enter("ann")


async def test_a_node_that_cannot_start_leaves_nothing_behind(tmp_path: Path) -> None:
    async with serving(tmp_path / "one") as site:
        config = Config(listen=Listen(port=site.node.port), data=Data(folder=str(tmp_path / "two")))
        with pytest.raises(OSError):  # noqa: PT011 - the port is taken
            await Node(config).start()
        assert [task.get_name() for task in asyncio.all_tasks()].count("commit main") == 1, "the first node's"
        async with serving(tmp_path / "two") as other:
            await other.enter("ann")


async def test_a_second_node_on_the_same_folder_is_refused_and_does_the_first_no_harm(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        conv = await site.group("ann")
        ann = await site.enter("ann")
        with pytest.raises(FolderInUse):
            await Node(Config(listen=Listen(port=0), data=Data(folder=str(tmp_path)))).start()
        assert (await ann.send(conv))["t"] == "ack"


async def test_a_node_may_be_stopped_twice(embedded: Site) -> None:
    await embedded.node.stop()
    await embedded.node.stop()


def has_acks(line: Line, number: int) -> bool:
    return len(line.all("ack")) > number


async def whole_log(line: Line, conv: str) -> list[dict[str, Any]]:
    """All messages of a log."""
    entries: list[dict[str, Any]] = []
    after, complete = 1, False
    while not complete:
        page = await line.ask(t="fetch", conv=conv, after=after, limit=200)
        entries += page["entries"]
        after, complete = (entries[-1]["seq"] if entries else after), page["complete"]
    return entries
