"""Opens connections to the file: one that writes, several that only read."""

from contextlib import suppress

import apsw

from posthouse.storage.base import StorageFull, StorageUnavailable

BUSY_TIMEOUT_MS = 5_000
"""How long to wait for another process that has the file; our own threads never wait for each other."""
SYNCHRONOUS = "FULL"
"""Every commit is synced before it returns. With less, a power cut takes back what was acknowledged (G1)."""
WRITER_CACHE_KIB = 32 * 1024
READER_CACHE_KIB = 8 * 1024
WAL_BYTES_KEPT = 64 * 1024 * 1024
"""The write-ahead log is cut back to this after it has been checkpointed."""


def open_writer(path: str, vfs: str | None = None) -> apsw.Connection:
    """The connection that writes, and keeps what it has committed."""
    connection = apsw.Connection(path, vfs=vfs, statementcachesize=256)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    if connection.readonly("main"):
        connection.close()
        raise StorageFull(f"{path} may only be read: let the service's user write to it and its folder")
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise StorageUnavailable(
            f"{path} lies where SQLite cannot keep a write-ahead log: use a local folder"
        )
    connection.pragma("synchronous", SYNCHRONOUS)
    connection.pragma("journal_size_limit", WAL_BYTES_KEPT)
    _common(connection, WRITER_CACHE_KIB)
    return connection


def open_reader(path: str, vfs: str | None = None) -> apsw.Connection:
    """A connection that only reads. It has its own view of the file and never waits for the writer."""
    connection = apsw.Connection(path, vfs=vfs)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("query_only", True)
    _common(connection, READER_CACHE_KIB)
    return connection


def close(connection: apsw.Connection) -> None:
    """Close. The last one copies the write-ahead log back; where the disk does not let it, the log keeps it safe."""
    with suppress(apsw.Error):
        connection.close()


def _common(connection: apsw.Connection, cache_kib: int) -> None:
    connection.pragma("cache_size", -cache_kib)
    connection.pragma("temp_store", "memory")
    connection.pragma("cell_size_check", True)
    connection.pragma("trusted_schema", False)
