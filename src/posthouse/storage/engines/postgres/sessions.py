"""A bounded set of sessions of one kind, for reading or for writing.

Idle ones are kept for the next use. One whose state is in any doubt is dropped, never handed out again: its server
side may still be at work, and a late cancel request must not hit somebody else's COMMIT.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from posthouse.storage.base import StorageUnavailable
from posthouse.storage.engines.postgres.errors import Lost, ReadOnly, mapping
from posthouse.storage.engines.postgres.hosts import Host
from posthouse.storage.engines.postgres.session import Session


class Sessions:
    """At most `sessions_max` at once. When all are busy a caller waits, up to `wait_timeout_s`, then is refused.

    `on_trouble` is called when the server may not be what it was.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Session]],
        where: str,
        *,
        sessions_max: int,
        wait_timeout_s: float,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._where = where
        self._sessions_max = sessions_max
        self._wait_timeout_s = wait_timeout_s
        self._on_trouble = on_trouble
        self._free = asyncio.Semaphore(sessions_max)
        self._idle: list[Session] = []
        self._used: set[Session] = set()
        self._closed = False
        self.connects = 0
        self.refused = 0

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Session]:
        """A session for the duration of the block, in which vendor errors become the port's."""
        await self._wait_for_turn()
        session: Session | None = None
        try:
            with mapping(self._where):
                session = await self._take()
                await session.renew_plans()
                yield session
        except BaseException as error:
            if isinstance(error, (Lost, ReadOnly)) or isinstance(error.__cause__, TimeoutError):
                self._on_trouble()
            if session is not None and (_may_be_busy(error) or isinstance(error, ReadOnly)):
                session.drop()
            raise
        finally:
            self._free.release()
            if session is not None:
                self._put_back(session)

    def leave(self, host: Host, timeline: int) -> None:
        """Drop every session, used or not, that is not with `host` on `timeline`, the primary from now on.

        A COMMIT that one of them waits for is in doubt then, and its doubt is settled by the new primary.
        """
        for session in (*self._idle, *self._used):
            if (session.host, session.timeline) != (host, timeline):
                session.drop()
        self._idle = [session for session in self._idle if session.quiet]

    def with_host(self, host: Host | None = None) -> list[Session]:
        """The sessions there are now, used or not: with one host, or with any."""
        return [each for each in (*self._idle, *self._used) if host is None or each.host == host]

    def give_up(self) -> None:
        """Drop every session, used or not, but those in COMMIT: who waits is told at once that there is no server."""
        for session in (*self._idle, *self._used):
            if not session.committing:
                session.drop()
        self._idle.clear()

    def close(self) -> None:
        """Drop every session, used or not, and refuse further use."""
        self._closed = True
        for session in (*self._idle, *self._used):
            session.drop()
        self._idle.clear()

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(self._wait_timeout_s):
                await self._free.acquire()
        except TimeoutError:
            self.refused += 1
            raise StorageUnavailable(
                f"all {self._sessions_max} connections to {self._where} were busy for {self._wait_timeout_s:g} s"
            ) from None

    async def _take(self) -> Session:
        session = None
        while self._idle and session is None:
            candidate = self._idle.pop()  # the last one used: the others may age
            if candidate.quiet:
                session = candidate
            else:
                candidate.drop()
        if session is None:
            self.connects += 1
            session = await self._connect()
        if self._closed:
            session.drop()
            raise StorageUnavailable(f"the database {self._where} is closed")
        self._used.add(session)
        return session

    def _put_back(self, session: Session) -> None:
        self._used.discard(session)
        if session.quiet and not self._closed:
            self._idle.append(session)
        else:
            session.drop()


def _may_be_busy(error: BaseException) -> bool:
    """True when the server may still work on a statement, as after a cancellation or a timeout of ours."""
    return not isinstance(error, Exception) or isinstance(error.__cause__ or error, TimeoutError)
