"""What PostgreSQL and asyncpg raise, as the port's errors; and what the writer does next, told apart by SQLSTATE.

Every module of this engine lets vendor errors out only through `mapped`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from posthouse.storage.base import StorageCorrupt, StorageError, StorageFull, StorageUnavailable

VENDOR = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything that talking to a server may raise. (A timeout is an OSError.)"""


class Lost(StorageUnavailable):
    """The connection ended, though not during COMMIT: nothing was done, and a new connection may fare better."""


class Collided(StorageUnavailable):
    """Another transaction was in the way and this one was rolled back: doing it again will go well."""


class InDoubt(StorageUnavailable):
    """COMMIT was asked for, and whether it is done, and on the standby as well, is not known."""


class ReadOnly(StorageFull):
    """The server takes no writes. It may have been demoted: a new connection may lead to one that does."""


class Unstorable(StorageError):
    """The database does not take what one of the rows holds."""


def mapped(error: Exception, where: str) -> StorageError:
    """The port's error for a vendor's; `where` names the database for the message."""
    if isinstance(error, TimeoutError):
        return StorageUnavailable(f"PostgreSQL at {where} did not answer in time")
    if not isinstance(error, asyncpg.PostgresError):
        return Lost(f"PostgreSQL at {where} cannot be reached: {_text(error)}")
    reason = f"PostgreSQL at {where}: {error} (SQLSTATE {error.sqlstate})"
    kind = _kind(error.sqlstate or "")
    return kind(reason)


_BY_SQLSTATE: dict[str, type[StorageError]] = {
    "25006": ReadOnly,  # read_only_sql_transaction: demoted; or how managed services stop a full disk from growing
    "53100": StorageFull,  # disk_full
    "58030": StorageCorrupt,  # io_error
    "XX001": StorageCorrupt,  # data_corrupted
    "XX002": StorageCorrupt,  # index_corrupted
    "23505": Collided,  # unique_violation: two created the same thing at once
    "40001": Collided,  # serialization_failure
    "40P01": Collided,  # deadlock_detected
    "57014": Collided,  # query_canceled by an operator
    "55P03": StorageUnavailable,  # lock_not_available: it has waited long already
}
_BY_CLASS: dict[str, type[StorageError]] = {
    "08": Lost,  # connection exceptions
    "57": Lost,  # an operator ended the connection, or the server is stopping or starting
    "22": Unstorable,  # data exceptions: text with U+0000, numbers out of range
    "23": Unstorable,  # a constraint
    "54": Unstorable,  # too large for an index
}


def _kind(sqlstate: str) -> type[StorageError]:
    return _BY_SQLSTATE.get(sqlstate) or _BY_CLASS.get(sqlstate[:2], StorageUnavailable)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


@contextmanager
def mapping(where: str) -> Iterator[None]:
    """Raise the port's errors for the vendor's."""
    try:
        yield
    except VENDOR as error:
        raise mapped(error, where) from error
