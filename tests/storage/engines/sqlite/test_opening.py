"""Opening: the schema goes forward in whole steps, other programs' files are left alone, two openers agree."""

import asyncio
from pathlib import Path

import apsw
import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.base import Appended, StorageCorrupt, StorageError, StorageUnavailable
from posthouse.storage.engines.sqlite import schema
from posthouse.storage.engines.sqlite.connection import open_writer
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from posthouse.testing.contracts.storage import Talk


async def _open(path: Path) -> SqliteDatabase:
    database = SqliteDatabase(path, SystemClock())
    try:
        await database.open()
    except StorageError:
        await database.close()
        raise
    return database


def _version(path: Path) -> int:
    return int(str(apsw.Connection(str(path)).pragma("user_version")))


async def test_a_newer_schema_is_refused_and_says_what_to_do(path: Path) -> None:
    """G6: a version that does not know what it would write writes nothing."""
    await (await _open(path)).close()
    apsw.Connection(str(path)).pragma("user_version", 99)
    with pytest.raises(StorageUnavailable, match=r"newer Posthouse .* run that version, or restore"):
        await _open(path)
    assert _version(path) == 99


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    apsw.Connection(str(path)).execute("CREATE TABLE theirs (x)")
    with pytest.raises(StorageUnavailable, match="not a Posthouse database"):
        await _open(path)
    assert apsw.Connection(str(path)).execute("SELECT name FROM sqlite_schema").get == "theirs"


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    text = b"Dear diary, " * 1_000
    path.write_bytes(text)
    with pytest.raises(StorageCorrupt):
        asyncio.run(_open(path))
    assert path.read_bytes() == text


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        await _open(tmp_path / "missing" / "posthouse.db")


async def test_a_migration_adds_to_what_is_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward only, one step after the other, from whatever version the file has."""
    database = await _open(path)
    talk, epoch = Talk(database), database.epoch
    await talk.start("g", "ann")
    await database.close()
    steps = ("CREATE TABLE second (x INTEGER) STRICT", "CREATE TABLE third (x INTEGER) STRICT")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *steps))
    talk.database = database = await _open(path)
    assert (_version(path), database.epoch) == (3, epoch)
    await talk.say("g", "ann", "still here")
    await database.close()


async def test_a_migration_that_fails_leaves_the_version_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one transaction: half a migration is none."""
    await (await _open(path)).close()
    broken = "CREATE TABLE second (x INTEGER) STRICT; INSERT INTO missing VALUES (1)"
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
        with pytest.raises(StorageUnavailable):
            await _open(path)
    assert _version(path) == 1
    await (await _open(path)).close()


async def test_two_that_begin_the_same_file_at_once_agree(path: Path) -> None:
    """The step is decided under the lock: the second finds it done, and both have one epoch."""
    open_writer(str(path)).close()
    first, second = await asyncio.gather(_open(path), _open(path))
    assert first.epoch == second.epoch
    await first.close()
    await second.close()


async def test_one_who_is_overtaken_does_not_repeat_the_step(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking at the version and getting the lock, another process may have done it."""
    version_of, others = schema._version, [open_writer(str(path))]

    def overtaken(connection: apsw.Connection) -> int:
        version = version_of(connection)
        while others:
            schema.migrate(others.pop(), 64, 0)
        return version

    monkeypatch.setattr(schema, "_version", overtaken)
    database = await _open(path)
    assert _version(path) == 1
    await database.close()


async def test_two_processes_that_append_the_same_at_once_make_one_entry(path: Path) -> None:
    """The hazard of reading before the lock is held: `BEGIN IMMEDIATE` comes first, so one of them sees the other's."""
    first, second = await _open(path), await _open(path)
    talk = Talk(first)
    await talk.start("g", "ann")
    for n in range(50):
        batch = [talk.send("g", "ann", str(n))]
        (one,), (other,) = await asyncio.gather(first.append(batch), second.append(batch))
        assert isinstance(one, Appended)
        assert isinstance(other, Appended)
        assert (one.seq, one.duplicate) == (other.seq, not other.duplicate)
    assert await talk.seqs("g") == list(range(1, 52))
    await first.close()
    await second.close()
