"""G1 on SQLite: what was acknowledged outlives a power cut, wherever it strikes."""

import asyncio
from pathlib import Path
from random import Random

import apsw
import pytest

from posthouse.kit.clock import SystemClock
from posthouse.storage.base import Append, Outcome, Refused, StorageError
from posthouse.storage.engines.sqlite import checkpoints, connection
from posthouse.storage.engines.sqlite.database import SqliteDatabase
from posthouse.testing.contracts.storage import Talk
from posthouse.testing.faults_sqlite import Disk

LOGS = ("g", "h", "i")
CUTS = 5
SEEDS = range(40)


class Run:
    """One database that loses its power several times, and what it has acknowledged."""

    def __init__(self, path: Path, random: Random, disk: Disk) -> None:
        self.random = random
        self.disk = disk
        self.path = path
        self.talk = Talk(self._new())
        self.acked: dict[str, tuple[Append, int]] = {}
        self.epoch = ""

    def _new(self) -> SqliteDatabase:
        return SqliteDatabase(self.path, SystemClock(), vfs=self.disk.name)

    async def until_power_goes(self) -> None:
        """Two callers append batches until nothing can be appended any more."""
        self.disk.cut_at = self.disk.operations + self.random.randrange(1, 500)
        database = self.talk.database = self._new()
        try:
            await database.open()
            async with asyncio.TaskGroup() as callers:
                for _ in range(2):
                    callers.create_task(self._append_until_refused())
        except StorageError:
            assert self.disk.off
        await database.close()
        self.disk.restore()

    async def _append_until_refused(self) -> None:
        while not self.disk.off:
            batch = self._batch()
            outcomes = await self.talk.append(*batch)
            for append, outcome in zip(batch, outcomes, strict=True):
                self._note(append, outcome)

    def _batch(self) -> list[Append]:
        talk, random = self.talk, self.random
        sends = [
            talk.send(random.choice(LOGS), "ann", "x" * random.randrange(2_000))
            for _ in range(random.randrange(9))
        ]
        return [*(talk.group(log, "ann", "ben") for log in LOGS), *sends]

    def _note(self, append: Append, outcome: Outcome) -> None:
        if isinstance(outcome, Refused):
            assert self.disk.off, outcome
        elif not outcome.duplicate:
            self.acked[append.client_id] = (append, outcome.seq)

    async def check(self) -> None:
        """Everything acknowledged is in its place, the logs have no gaps, and the file is sound."""
        database = self.talk.database = self._new()
        await database.open()
        if self.acked:
            self.epoch = self.epoch or database.epoch
            assert database.epoch == self.epoch
        for log in LOGS:
            if await database.conversation(self.talk.app, log) is None:
                assert all(append.conv != log for append, _ in self.acked.values())
                continue
            entries = await self.talk.entries(log)
            assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
            assert len({entry.client_id for entry in entries}) == len(entries)
            found = {entry.client_id: (entry.seq, bytes(entry.body)) for entry in entries}
            for append, seq in self.acked.values():
                if append.conv == log and append.change is None:
                    assert found.get(append.client_id) == (seq, append.body), "acknowledged, and gone"
        await database.close()
        assert apsw.Connection(str(self.path)).pragma("integrity_check") == "ok"


async def _lose_power(path: Path, seed: int, *, lies: bool = False) -> None:
    random = Random(seed)
    with Disk(random) as disk:
        disk.lies = lies
        run = Run(path / f"{seed}.db", random, disk)
        for _ in range(CUTS):
            await run.until_power_goes()
            await run.check()


async def _lose_power_often(path: Path, *, lies: bool = False) -> None:
    for seed in SEEDS:
        await _lose_power(path, seed, lies=lies)


@pytest.fixture
def frequent_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pages are written in a test: checkpoints must come among them."""
    monkeypatch.setattr(checkpoints, "PAGES_MAX", 20)


@pytest.mark.usefixtures("frequent_checkpoints")
@pytest.mark.parametrize("seed", SEEDS)
async def test_what_was_acknowledged_outlives_a_power_cut(tmp_path: Path, seed: int) -> None:
    """Guards `synchronous=FULL` and answering after COMMIT: cut at random writes and syncs, again and again."""
    await _lose_power(tmp_path, seed)


@pytest.mark.usefixtures("frequent_checkpoints")
async def test_a_power_cut_is_noticed_when_commits_are_not_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: with `synchronous=NORMAL`, commits are synced only at checkpoints."""
    monkeypatch.setattr(connection, "SYNCHRONOUS", "NORMAL")
    with pytest.raises(AssertionError, match="acknowledged, and gone"):
        await _lose_power_often(tmp_path)


@pytest.mark.usefixtures("frequent_checkpoints")
@pytest.mark.parametrize("lies", [False, True])
async def test_a_power_cut_is_noticed_when_nothing_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lies: bool
) -> None:
    """The disk of these tests does lose what was not synced: with `synchronous=OFF`, or when the disk lies."""
    monkeypatch.setattr(connection, "SYNCHRONOUS", "FULL" if lies else "OFF")
    with pytest.raises((AssertionError, LookupError, StorageError)):
        await _lose_power_often(tmp_path, lies=lies)


def _copy(path: Path, left: Path) -> None:
    """What a process leaves behind that is killed at this moment, as the next one finds it."""
    for part in ("", "-wal"):
        Path(f"{left}{part}").write_bytes(Path(f"{path}{part}").read_bytes())


async def test_what_a_killed_process_has_not_synced_is_synced_before_it_is_confirmed(
    tmp_path: Path, talk: Talk, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G1: killed between writing and syncing, it leaves an entry that the next process finds and a power cut takes."""
    await talk.start("g", "ann")
    await talk.say("g", "ann", "before")
    send = talk.send("g", "ann", "once")
    disk.syncs_fail = apsw.IOError
    await talk.append(send)
    disk.syncs_fail = None
    left = tmp_path / "left.db"
    _copy(path, left)
    synced: list[str] = []
    sync = disk.synced

    def note(path: str, with_folder: bool) -> None:
        sync(path, with_folder)
        synced.append(path)

    monkeypatch.setattr(disk, "synced", note)
    talk.database = SqliteDatabase(left, SystemClock(), vfs=disk.name)
    await talk.database.open()
    (again,) = await talk.done(send)
    assert again.duplicate
    assert f"{left}-wal" in synced
    await talk.database.close()
