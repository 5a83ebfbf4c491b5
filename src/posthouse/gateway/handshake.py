"""The door of a listener that speaks TLS: accepts connections itself and lets each shake hands in a task of its own.

The event loop's own TLS server counts nobody before the handshake is done, so those who never finish one would be
unbounded. Here they count from the moment they are accepted, and have a limited time. Overflow policy: cut.
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


class TlsDoor:
    """Accepts at one listening socket from `open` until `close`. Belongs to one event loop.

    `serve` makes the protocol of a connection whose handshake is done, `tls` says with which certificate, `may_enter`
    is asked before a handshake begins, and `failed` is told of each that came to nothing.
    """

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[], asyncio.Protocol],
        tls: Callable[[], ssl.SSLContext],
        timeout_s: float,
    ) -> None:
        self.may_enter: Callable[[], bool] = lambda: True
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
        """How many are at it now."""
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
                accepted.close()

    def _begin(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        task = start(self._shake_hands(accepted))
        self._shaking[task] = accepted
        task.add_done_callback(self._ended)

    async def _shake_hands(self, accepted: socket.socket) -> None:
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
