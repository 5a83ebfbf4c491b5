"""The threads that talk to SQLite: one for everything that writes, a few for reads, each with its own connection.

Work is a function of a connection. The event loop only waits; SQLite's errors arrive there as the port's.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import apsw

from posthouse.storage.base import StorageUnavailable
from posthouse.storage.engines.sqlite.connection import close
from posthouse.storage.engines.sqlite.errors import mapping

T = TypeVar("T")
Open = Callable[[], apsw.Connection]


class Threads:
    """`size` threads, each of which opens a connection when it first needs one.

    `after_work` is called with the connection when its work is done. At most `waiting_max` pieces of work wait; more
    are refused with `StorageUnavailable` and counted.
    """

    def __init__(
        self,
        name: str,
        open_connection: Open,
        size: int,
        waiting_max: int,
        after_work: Callable[[apsw.Connection], None] | None = None,
    ) -> None:
        self._open = open_connection
        self._after_work = after_work
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=f"sqlite-{name}")
        self._idle: list[apsw.Connection] = []
        self._waiting = 0
        self._waiting_max = waiting_max
        self._closed = False
        self.refused = 0

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do `work` on a connection in a thread of its own. Once begun it is finished, whoever stops waiting."""
        if self._closed:
            raise StorageUnavailable("the database is closed")
        if self._waiting >= self._waiting_max:
            self.refused += 1
            raise StorageUnavailable(f"{self._waiting_max} pieces of work wait for the database already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Finish what has begun, then close the connections and end the threads."""
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _work(self, work: Callable[[apsw.Connection], T]) -> T:
        with mapping():
            connection = self._take()
            try:
                return work(connection)
            finally:
                if self._after_work is not None:
                    self._after_work(connection)
                self._idle.append(connection)

    def _take(self) -> apsw.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._open()

    def _close(self) -> None:
        self._pool.shutdown()
        while self._idle:
            close(self._idle.pop())
