"""A disk under SQLite that can fail: lose its power, fill up, turn read-only, as an apsw VFS over real files.

A power cut keeps what was synced; of what was not, it keeps any part, sector by sector, in any order, and may forget
files whose directory was not synced. Everything random comes from the given generator. Used by several threads.
"""

from collections.abc import Iterable
from itertools import count
from pathlib import Path
from random import Random
from threading import RLock

import apsw

SECTOR_BYTES = 512
_CREATED_WITH_SYNC_OF_FOLDER = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
_WRITABLE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
_names = count(1)


class _Contents:
    """What is safe of one file, and the writes since its last sync. A write of None bytes cuts the file off there."""

    def __init__(self, durable: bytes, named: bool) -> None:
        self.durable = bytearray(durable)
        self.pending: list[tuple[int, bytes | None]] = []
        self.named = named

    def sync(self) -> None:
        for offset, data in self.pending:
            _put(self.durable, offset, data)
        self.pending.clear()

    def survivors(self, random: Random, odds: float) -> bytes:
        """What a power cut leaves: each sector not yet synced survives with the given odds."""
        left = bytearray(self.durable)
        for offset, data in self.pending:
            if data is None:
                if random.random() < odds:
                    _put(left, offset, None)
                continue
            for at in range(0, len(data), SECTOR_BYTES):
                if random.random() < odds:
                    _put(left, offset + at, data[at : at + SECTOR_BYTES])
        return bytes(left)


class Disk:
    """Register with `with Disk(random) as disk`, then open databases with `vfs=disk.name`.

    `operations` counts writes, truncations and syncs; the power goes when it reaches `cut_at`. `writes_fail` and
    `syncs_fail` are raised instead of doing so, for files whose name ends in `fails_on`; `read_only` is what a file
    system becomes after an error.
    """

    def __init__(self, random: Random) -> None:
        self.name = f"faulty-{next(_names)}"
        self.operations = 0
        self.cut_at: int | None = None
        self.off = False
        self.lies = False
        """Syncs are answered without being done."""
        self.read_only = False
        self.writes_fail: type[apsw.Error] | None = None
        self.syncs_fail: type[apsw.Error] | None = None
        self.fails_on = ""
        self.lock = RLock()
        self._random = random
        self._files: dict[str, _Contents] = {}
        self._deleted: dict[str, _Contents] = {}
        self._vfs = _Vfs(self)

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *error: object) -> None:
        self._vfs.unregister()

    def cut_power(self) -> None:
        """From now on nothing is written or read, until `restore`."""
        self.off = True

    def restore(self) -> None:
        """Power is back: put into the real files what survived. All connections must have been closed."""
        odds = self._random.choice((0.0, 0.3, 0.7, 1.0))
        for path, contents in self._deleted.items() if self._random.random() < 0.5 else ():
            self._files.setdefault(path, contents)
        for path, contents in self._files.items():
            if contents.named or self._random.random() < odds:
                Path(path).write_bytes(contents.survivors(self._random, odds))
            else:
                Path(path).unlink(missing_ok=True)
            Path(f"{path}-shm").unlink(missing_ok=True)
        self._files.clear()
        self._deleted.clear()
        self.off, self.cut_at = False, None

    # What the file system calls ---------------------------------------------------------------------------------

    def opened(self, path: str, created: bool) -> None:
        if created or path not in self._files:
            durable = b"" if created else Path(path).read_bytes()
            self._files[path] = _Contents(durable, named=not created)

    def deleted(self, path: str) -> None:
        self._deleted[path] = self._files.pop(path, _Contents(b"", named=False))

    def wrote(self, path: str, offset: int, data: bytes | None) -> None:
        self.step()
        if self.read_only:
            raise apsw.ReadOnlyError("the file system is read-only")
        if self.writes_fail is not None and path.endswith(self.fails_on):
            raise self.writes_fail("the disk does not take this write")
        self._files[path].pending.append((offset, data))

    def synced(self, path: str, with_folder: bool) -> None:
        self.step()
        if self.syncs_fail is not None and path.endswith(self.fails_on):
            raise self.syncs_fail("the disk does not sync")
        if self.lies:
            return
        self._files[path].sync()
        if with_folder:
            self._deleted.clear()
            for contents in self._files.values():
                contents.named = True

    def step(self) -> None:
        """One more operation; the power may go with it."""
        self.check()
        self.operations += 1
        if self.operations == self.cut_at:
            self.cut_power()
            self.check()

    def check(self) -> None:
        if self.off:
            raise apsw.IOError("the power is off")


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "_File":
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self._disk.lock:
            if not self._disk.off:
                super().xDelete(filename, syncdir)
                self._disk.deleted(filename)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._syncs_folder = bool(flags[0] & _CREATED_WITH_SYNC_OF_FOLDER)
        with disk.lock:
            disk.check()
            if disk.read_only:
                flags[0] = flags[0] & ~_WRITABLE | apsw.SQLITE_OPEN_READONLY
            created = not Path(self._path).exists()
            super().__init__("", name, flags)
            disk.opened(self._path, created)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._disk.check()
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._disk.lock:
            self._disk.wrote(self._path, offset, bytes(data))
            super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        with self._disk.lock:
            self._disk.wrote(self._path, newsize, None)
            super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        with self._disk.lock:
            self._disk.synced(self._path, self._syncs_folder)


def flip_bytes(path: Path, pages: Iterable[int], page_bytes: int = 4096) -> None:
    """Damage whole pages of a database file, counted from 1, as a failing disk would."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * page_bytes)
            damaged = bytes(byte ^ 0xFF for byte in file.read(page_bytes))
            file.seek((page - 1) * page_bytes)
            file.write(damaged)


def _put(contents: bytearray, offset: int, data: bytes | None) -> None:
    """Write at an offset, filling what lies between with zeros; cut off there when `data` is None."""
    if data is None:
        del contents[offset:]
        return
    if len(contents) < offset:
        contents.extend(bytes(offset - len(contents)))
    contents[offset : offset + len(data)] = data
