"""The canary on a real node: a node that commits and acknowledges but delivers nothing is found out."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from posthouse.app.node import Node
from posthouse.health import canary as canary_module
from posthouse.protocol.codes import Code
from tests.service.site import Site, serving


@pytest.fixture
async def brisk(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A node whose canaries fly often and are impatient, of each engine in turn."""
    for name, value in (("FIRST_AFTER_S", 0.0), ("RETRY_S", 0.05), ("TRIM_EVERY", 5), ("ENTRIES_KEPT", 3)):
        monkeypatch.setattr(canary_module, name, value)
    async with serving(tmp_path, database) as site:
        canaries = node_of(site).canaries
        canaries._interval_s, canaries._timeout_s = 0.05, 0.5
        yield site


def node_of(site: Site) -> Node:
    assert site._node is not None
    return site._node


async def readiness(site: Site) -> tuple[int, dict[str, Any]]:
    reply = await site.rest("GET", "/readyz")
    return reply.status, reply.body


async def until_flown(site: Site, flights: int) -> None:
    async with asyncio.timeout(20):
        while node_of(site).canaries.statistics()["flights"] < flights:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.02)


async def until_ready(site: Site, ready: bool) -> str:
    async with asyncio.timeout(20):
        while (found := await readiness(site))[1]["ready"] is not ready:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.02)
    return str(found[1]["reason"])


async def test_a_node_that_commits_but_delivers_nothing_is_not_ready(
    brisk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else is green: the database answers, sends are acknowledged, connections stand."""
    await until_flown(brisk, 3)
    assert (await readiness(brisk))[0] == 200
    node = node_of(brisk)
    monkeypatch.setattr(node.gateway.audience, "_push", lambda *_: None)  # where every way of hearing ends
    reason = await until_ready(brisk, False)
    assert "a message was acknowledged but not delivered within 0.5 s" in reason
    monkeypatch.undo()
    await until_ready(brisk, True)


async def test_its_log_stays_short_and_nobody_sees_it(brisk: Site) -> None:
    await until_flown(brisk, 30)
    node = node_of(brisk)
    nest = node.canaries.flying["main"].nest
    page = await node.database.read("~canary", nest.conv, None, after=0, limit=1_000)
    assert len(getattr(page, "entries", ())) <= 3 + 5 + 1
    metrics = (await brisk.rest("GET", "/metrics")).body
    assert "posthouse_sessions 0.0" in str(metrics)


async def test_an_overloaded_node_refuses_newcomers_but_not_its_canary_nor_those_with_nowhere_else_to_go(
    brisk: Site,
) -> None:
    await until_flown(brisk, 2)
    node = node_of(brisk)
    lost = await brisk.enter("ben")
    await lost.close()
    node.gateway.admission.shed_s = 3.0
    back = await brisk.back(lost, "ben", {})
    assert back.welcome["user"] == "ben"
    line = await brisk.call()
    goaway = await line.hello(brisk.token("ann"))
    assert (goaway["t"], goaway["code"]) == ("goaway", Code.OVERLOADED)
    assert 3_000 <= goaway["reconnect_in_ms"] <= 6_001
    node.canaries.flying["main"]._land()
    before = int(node.canaries.statistics()["flights"])
    await until_flown(brisk, before + 3)
    assert (await readiness(brisk))[1]["ready"]
    node.gateway.admission.shed_s = 0.0
    await brisk.enter("ann")
