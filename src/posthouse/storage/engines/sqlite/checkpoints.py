"""Copies the write-ahead log back into the database beside the writer, so that no commit waits for it.

A commit only counts pages. At `PAGES_MAX` a thread of its own copies. While the writer goes on writing, that never is
all there is, and the log would go on growing; so the writer itself then copies the little that was written meanwhile,
between two commits, and begins the log again. No more often than that: a copy syncs the disk, and the commits beside
it wait.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import apsw

from posthouse.storage.engines.sqlite.connection import close

PAGES_MAX = 16_000
"""64 MiB of write-ahead log, and what is written during one run of the thread."""


class Checkpoints:
    """Owns the thread and its connection. `error` says in words why the last checkpoint failed, if it did."""

    def __init__(self, open_connection: Callable[[], apsw.Connection]) -> None:
        self._open = open_connection
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sqlite-checkpoint")
        self._connection: apsw.Connection | None = None
        self._pages = 0
        self._running = False
        self._copied = False
        """The thread has copied this log; what is left is what was written meanwhile."""
        self.error = ""

    def watch(self, writer: apsw.Connection) -> None:
        """Take over from SQLite's own checkpoints on the connection that writes."""
        writer.set_wal_hook(self._count)

    def after_work(self, writer: apsw.Connection) -> None:
        """Called in the writer thread, after a commit has been made and before the next begins."""
        if self._running:
            return
        if self._pages < PAGES_MAX:
            self._copied = False  # nothing was left, so the log has begun again by itself
        elif self._copied:
            self._copied = False
            self._copy(writer)
        else:
            self._copied = self._running = True
            self._pool.submit(self._copy_beside)

    def close(self) -> None:
        """Finish what is running. SQLite copies the rest when the last connection closes."""
        self._pool.shutdown()
        if self._connection is not None:
            close(self._connection)

    def _count(self, writer: apsw.Connection, name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _copy_beside(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._open()
            self._copy(self._connection)
        except apsw.Error as error:
            self.error = str(error)
        finally:
            self._running = False

    def _copy(self, connection: apsw.Connection) -> None:
        """What was committed is safe in the log: a failure is no commit's failure, but it is told."""
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.error = ""
        except apsw.Error as error:
            self.error = str(error)
