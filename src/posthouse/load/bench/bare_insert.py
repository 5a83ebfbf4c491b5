"""The raw limit of sending: bare batched inserts, 100 a transaction, and the update of each log's head.

Same engine, schema, indexes and durability as the server's, in a fresh database that the engine's own migrations made;
one connection in a process that does nothing else. No duplicates are looked for, nothing is checked or delivered.
"""

import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import apsw
import asyncpg

from posthouse.app.config import Config
from posthouse.app.config.values import Data, Database as DatabaseValues
from posthouse.app.databases import FILE, MAIN, databases
from posthouse.kit.clock import Clock
from posthouse.model.conversation import Kind
from posthouse.model.entry import CREATED, MESSAGE
from posthouse.storage.base import Append, Create

APP: Final = "bare"
BATCH: Final = 100
DIGEST: Final = bytes(16)
_INSERT: Final = """
INSERT INTO entry (
    app, conv, seq, shard, kind, sender, device, client_id, digest, at_ms, ordinal, body, reply_to, mentions
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE: Final = "UPDATE log SET head = ?, ordinal = ? WHERE app = ? AND conv = ?"
_INSERT_POSTGRES: Final = """
INSERT INTO entry (
    app, conv, seq, shard, kind, sender, device, client_id, digest, at_ms, ordinal, body, reply_to, mentions, number
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1)
"""
_UPDATE_POSTGRES: Final = "UPDATE log SET head = $1, ordinal = $2 WHERE app = $3 AND conv = $4"

Row = tuple[Any, ...]
Write = Callable[[list[Row], list[Row]], Awaitable[None]]
"""Writes entries, and (head, ordinal, app, conv) of their logs, in one transaction; returns once that is durable."""


async def bare_inserts_per_s(
    url: str, folder: Path, convs: int, body: bytes, seconds: float, clock: Clock
) -> float:
    """Entries a second over so many logs. `url`: "sqlite" (a file in `folder`), or a server's (a new database)."""
    opening = _sqlite(folder, convs, clock) if url == "sqlite" else _postgres(url, convs, clock)
    async with opening as write:
        rows = _rows(convs, body, clock.now_ms())
        begun, written = clock.monotonic(), 0
        while (passed := clock.monotonic() - begun) < seconds:
            entries = list(itertools.islice(rows, BATCH))
            await write(entries, _heads(entries))
            written += len(entries)
        return written / passed


def _rows(convs: int, body: bytes, now_ms: int) -> Iterator[Row]:
    """Entries without end, each in a log that chance picks. Seq 1 is the creation's."""
    chance = random.Random(0)
    seqs = [1] * convs
    for number in itertools.count():
        conv = chance.randrange(convs)
        seqs[conv] += 1
        yield (
            APP, f"send-{conv}", seqs[conv], conv % 64, MESSAGE, f"talker-{chance.randrange(200)}", "bench",
            f"0123456789abcdef-{number:x}", DIGEST, now_ms, seqs[conv] - 1, body, 0, None,
        )  # fmt: skip


def _heads(entries: list[Row]) -> list[Row]:
    """(head, ordinal, app, conv) of each log, by its newest entry."""
    newest = {row[1]: row for row in entries}
    return [(row[2], row[10], row[0], row[1]) for row in newest.values()]


async def _make_logs(url: str, folder: Path, convs: int, clock: Clock) -> None:
    """Have the engine make its schema, and the logs."""
    config = Config(data=Data(folder=str(folder)), database=DatabaseValues(url=url))
    engine = databases(config, clock)[MAIN]
    await engine.open()
    try:
        for at in range(0, convs, BATCH):
            await engine.append([_creation(f"send-{number}") for number in range(at, min(at + BATCH, convs))])
    finally:
        await engine.close()


def _creation(conv: str) -> Append:
    change = Create(kind=Kind.GROUP)
    return Append(
        app=APP,
        conv=conv,
        kind=CREATED,
        client_id=conv,
        made_at_ms=0,
        body=b"{}",
        change=change,
        trusted=True,
    )


@asynccontextmanager
async def _sqlite(folder: Path, convs: int, clock: Clock) -> AsyncIterator[Write]:
    await _make_logs("sqlite", folder, convs, clock)
    connection = apsw.Connection(str(folder / FILE))
    connection.pragma("synchronous", "FULL")  # the file itself remembers that it has a write-ahead log

    async def write(entries: list[Row], heads: list[Row]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT, entries)
        connection.executemany(_UPDATE, heads)
        connection.execute("COMMIT")

    try:
        yield write
    finally:
        connection.close()


@asynccontextmanager
async def _postgres(url: str, convs: int, clock: Clock) -> AsyncIterator[Write]:
    name = f"posthouse_bare_{os.getpid()}"
    own_url = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    async with _connected(url) as server:
        await server.execute(f"CREATE DATABASE {name}")
        try:
            await _make_logs(own_url, Path(), convs, clock)
            async with _connected(own_url) as connection:
                yield partial(_write_postgres, connection)
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def _write_postgres(connection: Any, entries: list[Row], heads: list[Row]) -> None:
    async with connection.transaction():
        await connection.executemany(_INSERT_POSTGRES, entries)
        await connection.executemany(_UPDATE_POSTGRES, heads)
