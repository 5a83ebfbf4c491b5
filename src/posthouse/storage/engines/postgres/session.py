"""One connection to PostgreSQL: how it is made, checked before it is trusted, and how a transaction on it ends.

Nothing here retries. COMMIT is the one statement whose failure leaves a doubt, and here the doubt is found.
"""

import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from posthouse.storage.base import StorageUnavailable
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.errors import VENDOR, InDoubt, Lost, mapped
from posthouse.storage.engines.postgres.probing import Backend

T = TypeVar("T")

VERSION_MIN: Final = 140_000
"""PostgreSQL 14, as `server_version_num` says it."""
CONNECT_TIMEOUT_S: Final = 5.0
SILENCE_MS_MAX: Final = 10_000
"""A server whose machine has not acknowledged anything for so long is taken for dead."""
PLANS_USES_MAX: Final = 500
"""Uses of a connection after which its plans are made anew: the tables may have grown since."""

WARNINGS_KEPT: Final = 8

Settings = Mapping[str, str]

COMMON_SETTINGS: Final[Settings] = {
    "application_name": "posthouse",
    "timezone": "UTC",
    # The warning that a synchronous commit was cut short must reach us, whatever the role's default.
    "client_min_messages": "warning",
    # Every statement looks up keys through an index. A plan made while the tables were small or unknown to the
    # planner must not read them whole once they have grown.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    "jit": "off",
}
READER_SETTINGS: Final[Settings] = {**COMMON_SETTINGS, "statement_timeout": "10s"}
WRITER_SETTINGS: Final[Settings] = {
    **COMMON_SETTINGS,
    # G1: an ack waits for the disk and, where there is one, for the synchronous standby.
    "synchronous_commit": "on",
    # A timeout would also cut short a COMMIT that waits for its standby, and PostgreSQL would then report success.
    "statement_timeout": "0",
    # Others hold a log's row for milliseconds, or else for as long as their own COMMIT waits for its standby.
    "lock_timeout": "5s",
    # A node that froze between lock and COMMIT must not stop the other nodes from writing the same logs.
    "idle_in_transaction_session_timeout": "10s",
}


_CHECK: Final = """
SELECT current_setting('server_version_num')::integer AS version, current_setting('server_version') AS name,
    pg_is_in_recovery() AS standby, current_setting('synchronous_commit') AS synchronous_commit,
    pid, backend_start::text AS began
FROM pg_stat_get_activity(pg_backend_pid())
"""


class Session:
    """A connection, and the warnings that the server has sent on it."""

    __slots__ = ("backend", "committing", "connection", "uses", "warnings", "where")

    def __init__(self, connection: Connection, where: str) -> None:
        self.connection = connection
        self.where = where
        self.warnings: deque[str] = deque(maxlen=WARNINGS_KEPT)
        self.committing = False
        self.uses = 0
        self.backend: Backend = (0, "")
        connection.add_log_listener(self._hear)

    def _hear(self, _: object, message: asyncpg.PostgresLogMessage) -> None:
        self.warnings.append(str(message))

    @property
    def quiet(self) -> bool:
        """True when the connection stands and is in no transaction."""
        return not self.connection.is_closed() and not self.connection.is_in_transaction()

    def drop(self) -> None:
        """Let go of the connection at once, asking the server nothing: least of all to cancel a COMMIT."""
        self.connection.terminate()

    async def renew_plans(self) -> None:
        """To be called at each use."""
        self.uses += 1
        if self.uses % PLANS_USES_MAX == 0:
            await self.connection.execute("DISCARD PLANS")

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in a transaction and commit it. Raises `InDoubt` when it may or may not be committed."""
        await self.connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        try:
            result = await work(self.connection)
        except Exception:
            if not self.connection.is_closed():
                await self.connection.execute("ROLLBACK")
            raise
        await self._commit()
        return result

    async def _commit(self) -> None:
        self.warnings.clear()
        self.committing = True
        try:
            status = await self.connection.execute("COMMIT")
        except VENDOR as error:
            raise InDoubt(f"PostgreSQL at {self.where} failed during COMMIT: {error}") from error
        finally:
            self.committing = False
        if self.warnings:
            # "canceling wait for synchronous replication": committed here, perhaps not on the standby. The words are
            # in the server's language, and nothing else warns during COMMIT.
            raise InDoubt(f"PostgreSQL at {self.where} warned during COMMIT: {self.warnings[-1]}")
        if status != "COMMIT":
            raise Lost(f"PostgreSQL at {self.where} answered COMMIT with {status}")


async def connect(dsn: str, settings: Settings, command_timeout_s: float | None = None) -> Session:
    """A checked connection to a primary. Raises `StorageUnavailable` saying what to do."""
    where = place_of(dsn)
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=command_timeout_s,
            server_settings=dict(settings),
            # Not `read-write`, whatever the address says: a primary that takes no writes for the moment still reads.
            target_session_attrs=SessionAttribute.primary if "," in where else None,
        )
    except asyncpg.ClientConfigurationError as error:
        raise StorageUnavailable(f"the database's address is not valid: {error}") from None
    except ValueError:  # its text might show a password that was taken for a port
        raise StorageUnavailable("the database's address is not valid: a port is no number") from None
    except VENDOR as error:
        raise _explained(error, where) from error
    session = Session(connection, where)
    try:
        _watch(connection)
        await _check(session, settings)
    except VENDOR as error:
        session.drop()
        raise mapped(error, where) from error
    except BaseException:
        session.drop()
        raise
    return session


def place_of(dsn: str) -> str:
    """Hosts and database of an address, without user and password: for messages."""
    parts = urlsplit(dsn)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _check(session: Session, settings: Settings) -> None:
    """Whether this is a primary we can work with, and took the settings we depend on."""
    row = await session.connection.fetchrow(_CHECK)
    assert row is not None
    if row["version"] < VERSION_MIN:
        raise StorageUnavailable(f"{session.where} is PostgreSQL {row['name']}; Posthouse needs 14 or newer")
    if row["standby"]:
        raise StorageUnavailable(
            f"{session.where} is a standby, which takes no writes: name the primary, or all hosts (a,b,c)"
        )
    asked = settings.get("synchronous_commit", row["synchronous_commit"])
    if row["synchronous_commit"] != asked:
        raise StorageUnavailable(
            f"{session.where} has synchronous_commit={row['synchronous_commit']} though {asked} was asked for: "
            "is there a pooler in between? It must pass session settings on"
        )
    if row["version"] >= 170_000:  # the same hazard as statement_timeout's
        await session.connection.execute("SET transaction_timeout = 0")
    session.backend = row["pid"], row["began"]


def _explained(error: Exception, where: str) -> StorageUnavailable:
    """Why no connection could be made, and what to do about it."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return StorageUnavailable(f"PostgreSQL at {where} refuses the user or password: {error}")
        case asyncpg.InvalidCatalogNameError():
            return StorageUnavailable(f"PostgreSQL at {where}: {error}. Create it with createdb")
        case asyncpg.TargetServerAttributeNotMatched():
            return StorageUnavailable(f"none of {where} is a primary")
        case asyncpg.PostgresError():
            return StorageUnavailable(f"PostgreSQL at {where} takes no connection now: {error}")
        case TimeoutError():
            return StorageUnavailable(f"{where} did not answer within {CONNECT_TIMEOUT_S:g} s")
    return StorageUnavailable(
        f"no PostgreSQL answers at {where} ({error}): start it, or correct the database's address"
    )


def _watch(connection: Connection) -> None:
    """Notice a server whose machine is dead or cut off. Not one that is merely frozen: its kernel still answers."""
    own = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # asyncpg offers no other way
    if own is None or own.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # A duplicate shares the connection's options; some event loops hide the methods of the socket itself.
    with socket.fromfd(own.fileno(), own.family, socket.SOCK_STREAM) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", SILENCE_MS_MAX // 2000),
            ("TCP_KEEPINTVL", 1),
            ("TCP_KEEPCNT", SILENCE_MS_MAX // 2000),
            ("TCP_USER_TIMEOUT", SILENCE_MS_MAX),
        ):
            if hasattr(socket, option):
                shared.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
