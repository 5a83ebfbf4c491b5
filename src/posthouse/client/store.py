"""A client's memory in one SQLite file: unacknowledged messages, positions, device. One thread writes, in batches.

A posted message is `put` in a transaction of its own batch, synced to disk before it is sent; what was settled or read
follows within a second, so after a crash a message may be sent again (the server knows its name) and an entry may be
delivered again.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from posthouse.client.errors import StoreFailed, StoreInUse
from posthouse.client.host import Saved
from posthouse.client.outbox import Item
from posthouse.kit.malformed import MALFORMED
from posthouse.protocol.frames import Send

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (number INTEGER PRIMARY KEY, client_id TEXT NOT NULL UNIQUE, send TEXT NOT NULL);
CREATE TABLE positions (log TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
"""
LAZY_S = 1.0
"""How long what need not be durable at once may wait."""

_encode_send = msgspec.json.Encoder().encode
_decode_send = msgspec.json.Decoder(Send).decode


class Batch:
    """What one transaction writes."""

    __slots__ = ("begun", "facts", "forget_positions", "positions", "puts", "settled")

    def __init__(self) -> None:
        self.puts: list[Item] = []
        self.settled: list[str] = []
        self.forget_positions = False
        self.positions: dict[str, int | None] = {}
        self.begun: dict[str, int] = {}
        """Positions of logs that have none yet."""
        self.facts: dict[str, str] = {}

    def __bool__(self) -> bool:
        positions = self.positions or self.begun or self.forget_positions
        return bool(self.puts or self.settled or positions or self.facts)

    def note(self, log: str, seq: int | None) -> None:
        """As `Store.note`."""
        self.positions[log] = seq
        self.begun.pop(log, None)

    def begin(self, log: str, seq: int) -> None:
        """As `Store.begin`."""
        if self.positions.get(log) is None:
            self.begun.setdefault(log, seq)

    def forget_all(self) -> None:
        """Positions noted before are void."""
        self.forget_positions = True
        self.positions.clear()
        self.begun.clear()

    def merge(self, later: "Batch") -> None:
        """Add what came later; `puts` are left alone."""
        self.settled += later.settled
        if later.forget_positions:
            self.forget_all()
        for log, seq in later.positions.items():
            self.note(log, seq)
        for log, seq in later.begun.items():
            self.begin(log, seq)
        self.facts |= later.facts


class Loaded(NamedTuple):
    """What an earlier run left."""

    saved: Saved
    sends: list[Send]


class Store:
    """One client's file. `on_stored(items, error)` is called when a batch of puts is durable, or has failed."""

    def __init__(self, path: str | Path, on_stored: Callable[[list[Item], StoreFailed | None], None]) -> None:
        self._path = Path(path)
        self._on_stored = on_stored
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="posthouse-store")
        self._db: sqlite3.Connection | None = None
        self._batch = Batch()
        self._writing: asyncio.Future[None] | None = None
        self.writes = 0
        self.failures = 0

    async def open(self) -> Loaded:
        """Open or create the file and read what it holds; raises `StoreFailed`."""
        try:
            return await self._loop.run_in_executor(self._thread, self._load)
        except (sqlite3.Error, OSError, ValueError, *MALFORMED) as error:
            self._thread.shutdown(wait=False)
            raise _translate(self._path, error) from None

    def put(self, item: Item) -> None:
        """Make a send durable, with all others that come while a batch is being written."""
        self._batch.puts.append(item)
        self.write()

    def settle(self, client_id: str) -> None:
        """A send needs no repeating any more."""
        self._batch.settled.append(client_id)

    def note(self, log: str, seq: int | None) -> None:
        """The application has had a log's entries up to `seq` (None: the log is forgotten)."""
        self._batch.note(log, seq)

    def begin(self, log: str, seq: int) -> None:
        """A log's delivery begins after `seq`. One that has a position keeps it: what lies between was not read yet."""
        self._batch.begin(log, seq)

    def forget_positions(self) -> None:
        """Those noted before are void."""
        self._batch.forget_all()

    def remember(self, saved: Saved) -> None:
        """Keep the session's facts; positions are noted one by one."""
        for name in ("user", "device", "epoch", "resume_token", "clock_offset_ms"):
            self._batch.facts[name] = str(getattr(saved, name))
        self._batch.facts["listed"] = "1" if saved.listed else ""

    def write(self) -> None:
        """Write what waits, unless a batch is being written: then it follows."""
        if self._writing is None and self._batch:
            batch, self._batch = self._batch, Batch()
            self._writing = self._loop.run_in_executor(self._thread, self._commit, batch)
            self._writing.add_done_callback(lambda done: self._written(batch, done))

    async def close(self) -> None:
        """Write everything and close the file; raises `StoreFailed` if that fails."""
        failures = self.failures
        while self._writing is not None or self._batch:
            self.write()
            if self._writing is not None:
                await asyncio.wait([self._writing])
            if self.failures > failures:
                break
        await self._loop.run_in_executor(self._thread, self._release)
        self._thread.shutdown(wait=False)
        if self.failures > failures:
            raise StoreFailed(
                f"{self._path} could not be written while closing; some messages may be sent again"
            )

    def _written(self, batch: Batch, done: "asyncio.Future[None]") -> None:
        self._writing = None
        self.writes += 1
        error = done.exception()
        if error is not None:
            self.failures += 1
            batch.merge(self._batch)
            batch.puts, failed = self._batch.puts, batch.puts
            self._batch = batch
            self._on_stored(failed, _translate(self._path, error))
        elif batch.puts:
            self._on_stored(batch.puts, None)
        if self._batch.puts:
            self.write()

    # In the thread

    def _load(self) -> Loaded:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._db = db = sqlite3.connect(
            self._path, timeout=0.0, isolation_level=None, check_same_thread=False
        )
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("BEGIN IMMEDIATE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"written by a newer version of the SDK (schema {version})")
        if version == 0:
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")
        return self._read(db)

    def _read(self, db: sqlite3.Connection) -> Loaded:
        """Types are checked: SQLite keeps any value in any column, and the file may be damaged."""
        facts = msgspec.convert(dict(db.execute("SELECT name, value FROM facts")), dict[str, str])
        rows = db.execute("SELECT send FROM outbox ORDER BY number").fetchall()
        sends = [_decode_send(send) for (send,) in msgspec.convert(rows, list[tuple[str]])]
        saved = Saved(
            user=facts.get("user", ""),
            device=facts.get("device", ""),
            epoch=facts.get("epoch", ""),
            resume_token=facts.get("resume_token", ""),
            clock_offset_ms=int(facts.get("clock_offset_ms", "0")),
            listed=bool(facts.get("listed")),
            positions=msgspec.convert(dict(db.execute("SELECT log, seq FROM positions")), dict[str, int]),
        )
        return Loaded(saved, sends)

    def _commit(self, batch: Batch) -> None:
        db = self._db
        assert db is not None
        db.execute("BEGIN IMMEDIATE")
        try:
            self._apply(db, batch)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _apply(self, db: sqlite3.Connection, batch: Batch) -> None:
        sends = ((item.send.client_id, _encode_send(item.send).decode()) for item in batch.puts)
        db.executemany("INSERT INTO outbox (client_id, send) VALUES (?, ?)", sends)
        db.executemany("DELETE FROM outbox WHERE client_id = ?", ((name,) for name in batch.settled))
        if batch.forget_positions:
            db.execute("DELETE FROM positions")
        kept = [(log, seq) for log, seq in batch.positions.items() if seq is not None]
        gone = [(log,) for log, seq in batch.positions.items() if seq is None]
        db.executemany("DELETE FROM positions WHERE log = ?", gone)
        db.executemany("INSERT OR IGNORE INTO positions (log, seq) VALUES (?, ?)", batch.begun.items())
        db.executemany("INSERT OR REPLACE INTO positions (log, seq) VALUES (?, ?)", kept)
        db.executemany("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", batch.facts.items())

    def _release(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


def _translate(path: Path, error: BaseException) -> StoreFailed:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return StoreInUse(f"{path} is open in another client; each running client needs a file of its own")
    return StoreFailed(f"{path}: {error}")
