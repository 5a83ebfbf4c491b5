"""Every write of this engine: run to a certain end, or reported as in doubt; never cancelled half-way.

All work handed to a `Writer` is idempotent and commits synchronously, so a doubt is settled by doing it again. Work
runs in a task of its own: a caller who is cancelled or whose time is up stops waiting, and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar

from posthouse.kit.backoff import Backoff
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import start
from posthouse.storage.base import StorageError, StorageUnavailable, Unwanted
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.errors import Collided, InDoubt, Lost, ReadOnly
from posthouse.storage.engines.postgres.probing import Backend
from posthouse.storage.engines.postgres.session import Session
from posthouse.storage.engines.postgres.sessions import Sessions

_log = logger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

ATTEMPTS_MAX = 5
"""Of work that others collided with or whose connection was lost, when nothing is in doubt."""


@dataclass(slots=True, eq=False)
class _Operation:
    """One piece of work under way. `abandoned`: its caller waits no longer."""

    session: Session | None = None
    abandoned: bool = False


class Writer:
    """Runs work in transactions. Answers within `timeout_s`, whatever the database does."""

    def __init__(self, sessions: Sessions, clock: Clock, where: str, timeout_s: float) -> None:
        self._sessions = sessions
        self._clock = clock
        self._where = where
        self._timeout_s = timeout_s
        self._backoff = Backoff(first_s=0.02, longest_s=1.0)
        self._running: dict[asyncio.Task[Any], _Operation] = {}
        self.retried = 0
        self.doubted = 0

    async def run(self, work: Work[T], opening: str = "") -> T:
        """The result of `work`, committed. Raises `InDoubt`, or another `StorageError` when nothing was done.

        `opening` is SQL that rides with BEGIN.
        """
        operation = _Operation()
        task = start(self._settle(partial(Session.transact, work=work, opening=opening), operation))
        self._running[task] = operation
        task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(task)
        except TimeoutError:
            self._abandon(operation)
            raise InDoubt(
                f"PostgreSQL at {self._where} gave no certain answer in {self._timeout_s:g} s"
            ) from None

    def drop_abandoned(self, alive: Container[Backend]) -> None:
        """Let go of abandoned commits but those whose server process is known to be `alive`.

        Such a process waits for its standby and holds a connection of its server: were ours dropped and another
        opened for the next write, a long absence of the standby would use up all the connections there are.
        """
        for operation in self._running.values():
            session = operation.session
            if operation.abandoned and session is not None and session.backend not in alive:
                session.drop()

    async def close(self) -> None:
        """Wait for what is under way, then drop what does not end."""
        tasks = list(self._running)
        if tasks:
            await asyncio.wait(tasks, timeout=self._timeout_s)
        for operation in self._running.values():
            operation.abandoned = True
        self._sessions.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _settle(self, work: Callable[[Session], Awaitable[T]], operation: _Operation) -> T:
        doubt: InDoubt | None = None
        for attempt in count(1):
            try:
                return await self._attempt(work, operation)
            except InDoubt as error:
                self.doubted += 1
                doubt = error
            except (Collided, Lost):
                if doubt is None and attempt >= ATTEMPTS_MAX:
                    raise
            except ReadOnly:  # this server; a new connection may find the one that has taken its place
                if doubt is None and attempt >= 2:
                    raise
            except Unwanted as error:  # and never will be again: what is in doubt stays so
                raise doubt or error from None
            except StorageUnavailable:
                if doubt is None:
                    raise
            if operation.abandoned:
                raise doubt or StorageUnavailable(f"PostgreSQL at {self._where} did not answer in time")
            self.retried += 1
            await self._clock.sleep(self._backoff.delay_s(attempt, 1.0))
        raise AssertionError("counting never ends")

    async def _attempt(self, work: Callable[[Session], Awaitable[T]], operation: _Operation) -> T:
        async with self._sessions.use() as session:
            if operation.abandoned:
                raise StorageUnavailable(f"PostgreSQL at {self._where} did not answer in time")
            operation.session = session
            try:
                return await work(session)
            finally:
                operation.session = None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        operation = self._running.pop(task)
        error = None if task.cancelled() else task.exception()
        if operation.abandoned and error is not None and not isinstance(error, StorageError):
            _log.error("a write crashed after its caller had left", error=error)

    def _abandon(self, operation: _Operation) -> None:
        """Before COMMIT the connection is dropped, and the server undoes what it did. A COMMIT is left alone."""
        operation.abandoned = True
        if operation.session is not None and not operation.session.committing:
            operation.session.drop()
