"""SQLite's errors as the port's: full, damaged, or unavailable; and whether an error lies in one row."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from posthouse.storage.base import StorageCorrupt, StorageError, StorageFull, StorageUnavailable

FULL = (apsw.FullError, apsw.ReadOnlyError)
DAMAGED = (apsw.CorruptError, apsw.NotADBError)
OF_ONE_ROW = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.TooBigError,
    apsw.RangeError,
    UnicodeEncodeError,
    OverflowError,
)
"""Raised for what one row holds, so the other rows of its batch may be written without it."""


def mapped(error: apsw.Error) -> StorageError:
    """The port's error for one of SQLite's."""
    reason = f"SQLite: {error} ({type(error).__name__})"
    if isinstance(error, FULL):
        return StorageFull(f"the disk is full or the database is read-only. {reason}")
    if isinstance(error, DAMAGED):
        return StorageCorrupt(f"the database is damaged; restore it from a backup. {reason}")
    return StorageUnavailable(reason)


@contextmanager
def mapping() -> Iterator[None]:
    """Raise the port's errors for SQLite's."""
    try:
        yield
    except apsw.Error as error:
        raise mapped(error) from error
