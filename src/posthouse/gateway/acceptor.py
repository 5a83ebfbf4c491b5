"""Accepts a listener's connections, each in a task until its protocol has it; over TLS that takes a handshake.

The event loop's own server takes all who wait before it tells of one, and of those who shake hands only when they have
done: a flood would use up the descriptors uncounted. Here all count once accepted, and a handshake has a limited time.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable

from posthouse.kit.tasks import start

_BUSY = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_ACCEPTS_MAX = 256
"""In one turn of the event loop."""
PAUSE_S = 1.0
"""After the machine had no descriptor left."""


class Acceptor:
    """Accepts at one listening socket from `open` until `close`. Belongs to one event loop.

    `serve` makes the protocol of a connection that is ready, `tls` says with which certificate. `may_enter` is asked at
    each connection, `turn_away` answers one that may not, and `failed` is told of each handshake that came to nothing.
    """

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext] | None,
        timeout_s: float,
    ) -> None:
        self.may_enter: Callable[[], bool] = lambda: True
        self.turn_away: Callable[[socket.socket], None] = lambda accepted: None
        self.failed: Callable[[], None] = lambda: None
        self._listening = listening
        self._serve = serve
        self._tls = tls
        self._timeout_s = timeout_s
        self._shaking: dict[asyncio.Task[None], socket.socket] = {}
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    @property
    def shaking(self) -> int:
        """How many are accepted and not yet ready."""
        return len(self._shaking)

    def open(self) -> None:
        """Begin to accept."""
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept no more; handshakes under way go on."""
        if self._pause is not None:
            self._pause.cancel()
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            self._listening.close()

    async def wait_closed(self) -> None:
        """After `close`: give up the handshakes under way."""
        for task in tuple(self._shaking):
            task.cancel()
        await asyncio.gather(*self._shaking, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_MAX):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _BUSY:
                    raise
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(PAUSE_S, self.open)
                return
            if self.may_enter():
                self._begin(accepted)
            else:
                self._refuse(accepted)

    def _refuse(self, accepted: socket.socket) -> None:
        with accepted:
            accepted.setblocking(False)
            self.turn_away(accepted)

    def _begin(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        task = start(self._hand_on(accepted))
        self._shaking[task] = accepted
        task.add_done_callback(self._ended)

    async def _hand_on(self, accepted: socket.socket) -> None:
        if self._tls is None:
            await self._loop.connect_accepted_socket(self._serve, accepted)
            return
        await self._loop.connect_accepted_socket(
            self._serve,
            accepted,
            ssl=self._tls(),
            ssl_handshake_timeout=self._timeout_s,
            ssl_shutdown_timeout=self._timeout_s,
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        accepted = self._shaking.pop(task)
        if task.cancelled():
            accepted.close()  # it may not have begun
        elif isinstance(task.exception(), OSError):  # as ssl.SSLError and TimeoutError are
            self.failed()
        else:
            task.result()
