"""One server at a time on a data folder: an advisory lock, which the system lets go of however the process ends."""

import fcntl
import os
from pathlib import Path

FILE = "lock"


class FolderInUse(Exception):
    """Another server runs on the data folder; the message says which and what to do."""


class FolderLock:
    """Held from `acquire` until `release` or the end of the process."""

    def __init__(self, folder: Path, file: str = FILE) -> None:
        """Workers of one supervisor share the folder: each has a `file` of its own, the supervisor the usual one."""
        self._folder = folder
        self._file = file
        self._handle = -1

    def acquire(self) -> None:
        """Take the lock. Raises `FolderInUse`, and `OSError` when the folder cannot be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise FolderInUse(
                f"the data folder {self._folder} is used by another server (process {owner}): "
                "stop it, or give another with --data"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Let go; nothing happens when it is not held."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
