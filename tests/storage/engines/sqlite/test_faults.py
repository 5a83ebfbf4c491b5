"""Full disks, read-only files, failing syncs, damaged pages: a clear refusal, never an ack, reads where possible."""

import asyncio
from pathlib import Path

import apsw
import pytest

from posthouse.kit.clock import SystemClock
from posthouse.model.cursor import Cursor
from posthouse.model.entry import MESSAGE
from posthouse.protocol.codes import Code
from posthouse.storage.base import (
    Append,
    Appended,
    Condition,
    CursorUpdate,
    Refused,
    StorageCorrupt,
    StorageFull,
    StorageUnavailable,
    User,
)
from posthouse.storage.engines.sqlite import appending, connection
from posthouse.storage.engines.sqlite.appending import _commit
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from posthouse.storage.rows import EntryRow
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.faults_sqlite import Disk, flip_bytes


async def _codes(talk: Talk, *batch: Append) -> set[Code]:
    outcomes = await talk.append(*batch)
    assert all(isinstance(outcome, Refused) for outcome in outcomes), outcomes
    return {outcome.code for outcome in outcomes if isinstance(outcome, Refused)}


async def test_a_full_disk_refuses_sends_until_there_is_room(talk: Talk, disk: Disk) -> None:
    """Nothing is acknowledged, reads go on, and when there is room the repeated sends are in the log once."""
    await talk.start("g", "ann")
    sends = [talk.send("g", "ann", str(n)) for n in range(5)]
    disk.writes_fail = apsw.FullError
    assert await _codes(talk, *sends) == {Code.STORAGE_FULL}
    assert await talk.seqs("g", "ann") == [1]
    condition = await talk.database.probe()
    assert (condition.readable, condition.writable) == (True, False)
    assert "disk is full" in condition.reason
    with pytest.raises(StorageFull):
        await talk.database.advance([CursorUpdate(talk.app, "ann", Cursor("g", 1))])
    with pytest.raises(StorageFull):
        await talk.database.put_user(talk.app, User(user="ann"))
    disk.writes_fail = None
    assert await talk.database.probe() == Condition(True, True)
    assert [each.seq for each in await talk.done(*sends)] == [2, 3, 4, 5, 6]


async def test_a_file_that_turns_read_only_still_serves_reads(talk: Talk, disk: Disk) -> None:
    """As after a file system's error: refused as `storage_full`, and recovered without a restart."""
    await talk.start("g", "ann")
    disk.read_only = True
    assert await _codes(talk, talk.send("g", "ann")) == {Code.STORAGE_FULL}
    assert await talk.seqs("g", "ann") == [1]
    condition = await talk.database.probe()
    assert (condition.readable, condition.writable) == (True, False)
    disk.read_only = False
    await talk.say("g", "ann", "again")


async def test_a_database_opened_read_only_serves_reads(
    talk: Talk, database: SqliteDatabase, path: Path, disk: Disk
) -> None:
    """A node starts on it, is not writable, and writes as soon as it may."""
    await talk.start("g", "ann")
    disk.read_only = True
    second = SqliteDatabase(path, SystemClock(), vfs=disk.name)
    await second.open()
    talk.database = second
    assert second.epoch == database.epoch
    assert await talk.seqs("g", "ann") == [1]
    assert await _codes(talk, talk.send("g", "ann")) == {Code.STORAGE_FULL}
    disk.read_only = False
    await talk.say("g", "ann", "again")
    await second.close()


async def test_a_new_database_cannot_begin_where_nothing_is_written(tmp_path: Path, disk: Disk) -> None:
    disk.read_only = True
    database = SqliteDatabase(tmp_path / "new.db", SystemClock(), vfs=disk.name)
    with pytest.raises(StorageUnavailable):
        await database.open()
    await database.close()


async def test_a_sync_that_fails_is_no_ack(talk: Talk, disk: Disk) -> None:
    """The send may be on the disk or not: `unavailable` says repeat it, and repeated it is there once."""
    await talk.start("g", "ann")
    send = talk.send("g", "ann", "once")
    disk.syncs_fail = apsw.IOError
    assert await _codes(talk, send) == {Code.UNAVAILABLE}
    assert not (await talk.database.probe()).writable
    assert await talk.texts("g") == []
    disk.syncs_fail = None
    await talk.done(send)
    assert await talk.texts("g") == ["once"]


async def test_a_send_whose_sync_failed_is_settled_after_a_crash(path: Path, talk: Talk, disk: Disk) -> None:
    """What was written but not synced may come back with the power: the repetition finds it or writes it."""
    await talk.start("g", "ann")
    sends = [talk.send("g", "ann", str(n)) for n in range(3)]
    disk.syncs_fail = apsw.IOError
    assert await _codes(talk, *sends) == {Code.UNAVAILABLE}
    await talk.database.close()
    disk.syncs_fail = None
    disk.cut_power()
    disk.restore()
    talk.database = SqliteDatabase(path, SystemClock(), vfs=disk.name)
    await talk.database.open()
    await talk.done(*sends)
    assert await talk.texts("g") == ["0", "1", "2"]
    await talk.database.close()


async def test_an_error_after_the_commit_is_settled_by_asking(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COMMIT says it failed, but the entry is there: the answer is the truth, not the error."""

    def fail(*_: object) -> int:
        raise apsw.IOError("failed after committing")

    await talk.start("g", "ann")
    send = talk.send("g", "ann", "there")
    writer = talk.database._writer._idle[0]  # type: ignore[attr-defined]
    writer.set_wal_hook(fail)
    (first,) = await talk.done(send)
    assert not first.duplicate
    writer.set_wal_hook(None)
    (again,) = await talk.done(send)
    assert again == first._replace(duplicate=True)


async def test_a_failing_checkpoint_is_told_and_harms_no_commit(
    talk: Talk, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed is safe in the write-ahead log; copying it back is tried again."""
    monkeypatch.setattr("posthouse.storage.engines.sqlite.checkpoints.PAGES_MAX", 0)
    await talk.start("g", "ann")
    disk.writes_fail, disk.fails_on = apsw.FullError, ".db"
    await talk.say("g", "ann", "1", "2")
    async with asyncio.timeout(10):
        while not (condition := await talk.database.probe()).reason:
            pass
    assert (condition.readable, condition.writable) == (True, True)
    disk.writes_fail = None
    async with asyncio.timeout(10):
        while await talk.database.probe() != Condition(True, True):
            pass


@pytest.mark.parametrize("poisoned", [{0}, {3}, {7}, {0, 7}, {2, 3, 4}, set(range(8))])
async def test_an_append_the_database_refuses_harms_only_itself(
    talk: Talk, path: Path, poisoned: set[int]
) -> None:
    """The batch is halved until the culprits stand alone; the others are written, in their order."""
    await talk.start("g", "ann")
    raw = apsw.Connection(str(path))
    raw.execute("""CREATE TRIGGER poison BEFORE INSERT ON entry WHEN NEW.kind = 'x.poison'
        BEGIN SELECT RAISE(ABORT, 'poison'); END""")
    raw.close()
    kinds = ["x.poison" if n in poisoned else MESSAGE for n in range(8)]
    outcomes = await talk.append(*(talk.send("g", "ann", str(n), kind=kind) for n, kind in enumerate(kinds)))
    for n, outcome in enumerate(outcomes):
        assert isinstance(outcome, Refused) == (n in poisoned)
    assert {outcome.code for outcome in outcomes if isinstance(outcome, Refused)} == {Code.INVALID_REQUEST}
    seqs = [outcome.seq for outcome in outcomes if isinstance(outcome, Appended)]
    assert seqs == list(range(2, 2 + len(seqs)))
    assert await talk.texts("g") == [str(n) for n in range(8) if n not in poisoned]


async def test_what_follows_a_send_that_is_refused_for_now_does_not_overtake_it(
    talk: Talk, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G3: of a batch that is halved, one half meets a full disk, and the next one would find room again."""
    await talk.start("g", "ann")
    raw = apsw.Connection(str(path))
    raw.execute("""CREATE TRIGGER poison BEFORE INSERT ON entry WHEN NEW.kind = 'x.poison'
        BEGIN SELECT RAISE(ABORT, 'poison'); END""")
    raw.close()
    commits: list[bool] = []

    def commit(connection: apsw.Connection, newest: EntryRow) -> None:
        commits.append(True)
        disk.writes_fail = apsw.FullError if len(commits) == 1 else None
        _commit(connection, newest)

    monkeypatch.setattr(appending, "_commit", commit)
    batch = [talk.send("g", "ann", "0", kind="x.poison"), *(talk.send("g", "ann", each) for each in "123")]
    outcomes = await talk.append(*batch)
    codes = [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    assert codes == [Code.INVALID_REQUEST, Code.STORAGE_FULL, Code.STORAGE_FULL, Code.STORAGE_FULL]
    disk.writes_fail = None
    await talk.done(*batch[1:])
    assert await talk.texts("g") == ["1", "2", "3"]


async def test_a_lock_held_elsewhere_refuses_sends_and_not_reads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process writes for too long: repeat later. Readers never wait for a writer."""
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 20)
    database = SqliteDatabase(path, SystemClock())
    await database.open()
    talk = Talk(database)
    await talk.start("g", "ann")
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE; UPDATE meta SET value = 1 WHERE name = 'probed_ms'")
    assert await _codes(talk, talk.send("g", "ann", "1")) == {Code.UNAVAILABLE}
    assert await talk.seqs("g", "ann") == [1]
    other.execute("ROLLBACK")
    await talk.say("g", "ann", "2")
    await database.close()


async def test_more_work_than_may_wait_is_refused_and_counted(talk: Talk) -> None:
    """G7: the queue to the writer has an end."""
    await talk.start("g", "ann")
    writer = talk.database._writer  # type: ignore[attr-defined]
    writer._waiting_max = 0
    assert await _codes(talk, talk.send("g", "ann")) == {Code.UNAVAILABLE}
    assert writer.refused == 1


async def test_a_closed_database_refuses(path: Path) -> None:
    database = SqliteDatabase(path, SystemClock())
    await database.open()
    talk = Talk(database)
    await database.close()
    assert await _codes(talk, talk.send("g", "ann")) == {Code.UNAVAILABLE}
    assert await database.probe() == Condition(False, False, "the database is closed")


# Damage -----------------------------------------------------------------------------------------------------------


def _pages_of(path: Path, name: str) -> list[int]:
    """The leaf pages of a table or index, in order."""
    raw = apsw.Connection(str(path))
    pages = raw.execute(
        "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (name,)
    )
    return [int(str(page)) for (page,) in pages]


async def _damaged(path: Path, name: str, take: slice) -> Talk:
    """A database in which pages of a table or index are damaged. Log `old` lies before log `new`."""
    database = SqliteDatabase(path, SystemClock())
    await database.open()
    talk = Talk(database)
    await talk.start("old", "ann")
    await talk.say("old", "ann", *("x" * 500 for _ in range(100)))
    await talk.start("new", "ann")
    await talk.say("new", "ann", *("x" * 500 for _ in range(100)))
    await database.close()
    pages = _pages_of(path, name)
    assert len(pages) > 1
    flip_bytes(path, pages[take])
    talk.database = SqliteDatabase(path, SystemClock())
    await talk.database.open()
    return talk


async def test_a_damaged_page_is_told_and_what_lies_elsewhere_is_read(path: Path) -> None:
    """Once damage is seen nothing more is acknowledged, and the node is not ready; the sound log is still read."""
    talk = await _damaged(path, "entry", slice(2, 4))
    with pytest.raises(StorageCorrupt, match="restore"):
        await talk.page("old", "ann")
    assert await _codes(talk, talk.send("new", "ann")) == {Code.UNAVAILABLE}
    assert len((await talk.page("new", "ann")).entries) == 101
    condition = await talk.database.probe()
    assert (condition.readable, condition.writable) == (True, False)
    assert "damaged" in condition.reason
    with pytest.raises(StorageUnavailable, match="damaged"):
        await talk.database.advance([CursorUpdate(talk.app, "ann", Cursor("new", 1))])
    await talk.database.close()


async def test_a_send_that_meets_damage_is_refused_and_every_send_after_it(path: Path) -> None:
    """Whether a send is in a damaged index cannot be told, so it is `unavailable`: never acked, never settled."""
    talk = await _damaged(path, "entry_send", slice(0, None))
    assert len((await talk.page("old", "ann")).entries) == 101
    assert (await talk.database.probe()).writable
    assert await _codes(talk, talk.send("old", "ann"), talk.send("new", "ann")) == {Code.UNAVAILABLE}
    assert not (await talk.database.probe()).writable
    assert len((await talk.page("old", "ann")).entries) == 101
    await talk.database.close()


async def test_a_database_whose_beginning_is_damaged_does_not_open(path: Path) -> None:
    talk = await _damaged(path, "entry", slice(0, 1))
    await talk.database.close()
    flip_bytes(path, [1])
    database = SqliteDatabase(path, SystemClock())
    with pytest.raises(StorageCorrupt, match="restore"):
        await database.open()
    await database.close()


def _pages_ahead(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size // 4096


async def test_the_log_ahead_is_kept_small(talk: Talk, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G7: without checkpoints it would grow with every commit; beside the writer they may lag, but not for ever."""
    monkeypatch.setattr("posthouse.storage.engines.sqlite.checkpoints.PAGES_MAX", 40)
    await talk.start("g", "ann")
    for n in range(200):
        await talk.say("g", "ann", str(n))
    assert _pages_ahead(path) < 400
