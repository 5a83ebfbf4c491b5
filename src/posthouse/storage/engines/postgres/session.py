"""One connection to PostgreSQL: how it is made, checked before it is trusted, and how a transaction on it ends.

Nothing here retries. COMMIT is the one statement whose failure leaves a doubt, and here the doubt is found.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from posthouse.storage.base import StorageUnavailable
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.errors import VENDOR, InDoubt, Lost, mapped
from posthouse.storage.engines.postgres.hosts import Host
from posthouse.storage.engines.postgres.probing import Backend, look

T = TypeVar("T")

VERSION_MIN: Final = 150_000
"""As `server_version_num` says it: PostgreSQL 15, the oldest that the tests of this engine have run on."""
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
    # A node that froze between lock and COMMIT must not stop the other nodes from writing the same logs. What it was
    # doing is undone; should it only have been slow, it does it again.
    "idle_in_transaction_session_timeout": "3s",
}
WATCH_SETTINGS: Final[Settings] = {**COMMON_SETTINGS, "application_name": "posthouse-watch"}

_CHECK: Final = """
SELECT current_setting('server_version_num')::integer AS version, current_setting('server_version') AS name,
    pg_is_in_recovery() AS standby, current_setting('synchronous_commit') AS synchronous_commit,
    pid, backend_start::text AS began
FROM pg_stat_get_activity(pg_backend_pid())
"""


class Session:
    """A connection, and the warnings that the server has sent on it."""

    __slots__ = ("backend", "committing", "connection", "host", "timeline", "uses", "warnings")

    def __init__(self, connection: Connection, host: Host) -> None:
        self.connection = connection
        self.host = host
        self.timeline = 0
        self.warnings: deque[str] = deque(maxlen=WARNINGS_KEPT)
        self.committing = False
        self.uses = 0
        self.backend: Backend = (0, "")
        connection.add_log_listener(self._hear)

    def _hear(self, _: object, message: asyncpg.PostgresLogMessage) -> None:
        self.warnings.append(str(message))

    @property
    def where(self) -> str:
        """The server's name, for messages."""
        return self.host.name

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

    async def transact(self, work: Callable[[Connection], Awaitable[T]], opening: str = "") -> T:
        """Run `work` in a transaction and commit it. Raises `InDoubt` when it may or may not be committed.

        `opening` is SQL that rides with BEGIN, in one round trip: statements without values.
        """
        try:
            await self.connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {opening}")
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


async def connect(
    host: Host,
    settings: Settings,
    command_timeout_s: float | None = None,
    *,
    standby: bool | None = False,
    timeout_s: float | None = None,
) -> Session:
    """A checked connection to one host. Raises `StorageUnavailable` saying what to do.

    It must be a primary, or a standby when that is asked for; with `standby=None` it may be either.
    """
    timeout_s = CONNECT_TIMEOUT_S if timeout_s is None else timeout_s
    try:
        connection = await asyncpg.connect(
            host.dsn,
            timeout=timeout_s,
            command_timeout=command_timeout_s,
            server_settings=dict(settings),
            # Whatever the address says: a primary that takes no writes for the moment still reads. The check decides.
            target_session_attrs=SessionAttribute.any,
        )
    except asyncpg.ClientConfigurationError as error:
        raise StorageUnavailable(f"the database's address is not valid: {error}") from None
    except ssl.SSLError as error:  # some of these are ValueErrors too
        raise _explained(error, host.name, timeout_s) from error
    except ValueError:  # its text might show a password that was taken for a port
        raise StorageUnavailable("the database's address is not valid: a port is no number") from None
    except VENDOR as error:
        raise _explained(error, host.name, timeout_s) from error
    session = Session(connection, host)
    try:
        _watch(connection)
        with dropped_when_late(session):
            await _check(session, settings, standby)
    except VENDOR as error:
        session.drop()
        raise mapped(error, host.name) from error
    except BaseException:
        session.drop()
        raise
    return session


async def _check(session: Session, settings: Settings, standby: bool | None) -> None:
    """Whether this is a server we can work with, and took the settings we depend on."""
    row = await session.connection.fetchrow(_CHECK)
    assert row is not None
    if row["version"] < VERSION_MIN:
        raise StorageUnavailable(
            f"{session.where} is PostgreSQL {row['name']}; Posthouse needs {VERSION_MIN // 10_000} or newer"
        )
    if row["standby"] and standby is False:
        raise StorageUnavailable(
            f"{session.where} is a standby, which takes no writes: name the primary, or all hosts (a,b,c)"
        )
    if standby and not row["standby"]:
        raise StorageUnavailable(f"{session.where} is no standby any more")
    asked = settings.get("synchronous_commit", row["synchronous_commit"])
    if row["synchronous_commit"] != asked:
        raise StorageUnavailable(
            f"{session.where} has synchronous_commit={row['synchronous_commit']} though {asked} was asked for: "
            "is there a pooler in between? It must pass session settings on"
        )
    if row["version"] >= 170_000:  # the same hazard as statement_timeout's
        await session.connection.execute("SET transaction_timeout = 0")
    session.backend = row["pid"], row["began"]
    session.timeline = (await look(session.connection)).timeline


@contextmanager
def dropped_when_late(session: Session) -> Iterator[None]:
    """For what a new connection is asked before others know of it: a server that has forgotten it would never answer.
    It is dropped then, not cancelled, for it may be in COMMIT."""
    timer = asyncio.get_running_loop().call_later(CONNECT_TIMEOUT_S, session.drop)
    try:
        yield
    finally:
        timer.cancel()


def drop_dead(suspects: Iterable[Session], alive: Container[Backend]) -> None:
    """Let go of connections whose server processes are gone, though nobody has told us: what waits there would wait for
    an answer that never comes. Whose COMMIT it is learns that it is in doubt.

    `suspects` must have been there before `alive` was asked for.
    """
    for session in suspects:
        if session.backend not in alive:
            session.drop()


def _explained(error: Exception, where: str, timeout_s: float) -> StorageUnavailable:
    """Why no connection could be made, and what to do about it."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return StorageUnavailable(f"PostgreSQL at {where} refuses the user or password: {error}")
        case asyncpg.InvalidCatalogNameError():
            return StorageUnavailable(f"PostgreSQL at {where}: {error}. Create it with createdb")
        case asyncpg.PostgresError():
            return StorageUnavailable(f"PostgreSQL at {where} takes no connection now: {error}")
        case ssl.SSLCertVerificationError():
            reason = f"shows a certificate that is not trusted ({error.verify_message})"
            return StorageUnavailable(
                f"PostgreSQL at {where} {reason}: name its authority (sslrootcert=FILE), and the host as it does"
            )
        case TimeoutError():
            return StorageUnavailable(f"{where} did not answer within {timeout_s:g} s")
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
