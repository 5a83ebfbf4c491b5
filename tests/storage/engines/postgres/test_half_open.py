"""Connections that the server has forgotten and nobody has told us of: what waits there goes on elsewhere."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.base import Appended
from posthouse.storage.engines.postgres import database as database_module, session
from posthouse.storage.engines.postgres.database import PostgresDatabase, PostgresLimits
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.faultproxy import FaultProxy
from posthouse.testing.ports import free_ports
from posthouse.testing.postgres import fresh_database, shared_postgres

NEVER_S = 50.0
"""None of the limits that would end the waiting may be what ends it."""


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(shared_postgres().port, SystemClock(), random.Random(0))
    await proxy.start()
    yield proxy
    await proxy.close()


def address(dsn: str, *ports: int) -> str:
    """The same database, at these ports."""
    return dsn.replace(f"127.0.0.1:{shared_postgres().port}", ",".join(f"127.0.0.1:{port}" for port in ports))


async def goes_on(database: PostgresDatabase, proxy: FaultProxy, talk: Talk) -> None:
    """What is sent while no connection stands any more is acknowledged once, and can be read."""
    conv = "tea"
    await talk.start(conv, "ann")
    send = talk.send(conv, "ann", "once")
    proxy.half_open()
    (outcome,) = await database.append([send])
    assert isinstance(outcome, Appended), outcome
    (again,) = await database.append([send])
    assert isinstance(again, Appended), again
    assert (again.seq, again.duplicate) == (outcome.seq, True)
    assert await database.heads(talk.app, [conv]) == {conv: outcome.seq}


@pytest.mark.parametrize("watched", [True, False], ids=["several hosts", "one host"])
async def test_connections_that_the_server_has_forgotten_are_dropped_and_what_waited_there_is_done(
    proxy: FaultProxy, watched: bool
) -> None:
    limits = PostgresLimits(write_timeout_s=NEVER_S, read_timeout_s=NEVER_S, probe_timeout_s=1.0)
    with fresh_database() as dsn:
        ports = (proxy.port, next(free_ports())) if watched else (proxy.port,)
        database = PostgresDatabase(address(dsn, *ports), SystemClock(), limits)
        await database.open()
        probing = asyncio.get_running_loop().create_task(probed(database, watched))
        try:
            async with asyncio.timeout(NEVER_S / 2):
                await goes_on(database, proxy, Talk(database))
        finally:
            probing.cancel()
            await database.close()


@pytest.mark.parametrize("asked", ["_check", "load_facts"])
async def test_a_connection_that_is_forgotten_before_it_is_used_is_given_up(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """No pool has it yet, so nobody else can drop it."""
    monkeypatch.setattr(session, "CONNECT_TIMEOUT_S", 0.5)
    where = session if asked == "_check" else database_module
    ask, forgotten = getattr(where, asked), asyncio.Event()

    async def ask_too_late(*about: Any) -> Any:
        if not forgotten.is_set():
            forgotten.set()
            proxy.half_open()
        return await ask(*about)

    with fresh_database() as dsn:
        limits = PostgresLimits(write_timeout_s=NEVER_S, read_timeout_s=NEVER_S)
        database = PostgresDatabase(address(dsn, proxy.port), SystemClock(), limits)
        await database.open()
        monkeypatch.setattr(where, asked, ask_too_late)
        talk = Talk(database)
        try:
            async with asyncio.timeout(NEVER_S / 2):
                await talk.start("tea", "ann")
        finally:
            await database.close()
    assert forgotten.is_set()


async def probed(database: PostgresDatabase, watched: bool) -> None:
    """A node probes its databases all the time; of several hosts the watch alone must find out."""
    while not watched:
        await database.probe()
        await SystemClock().sleep(0.2)
