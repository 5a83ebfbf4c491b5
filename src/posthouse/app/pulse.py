"""A worker's line to its supervisor: it says that it is ready, then that its event loop still turns, every second.

The line ends with the supervisor, however that ends: the worker then stops in order, so that no orphan is left.
"""

import asyncio
import re
import socket
from collections.abc import Callable

BEAT_INTERVAL_S = 1.0
RESTART_STATUS = 75
"""How a worker ends that wants to be started again (EX_TEMPFAIL)."""
READY, BEAT = b"ready %d\n", b"beat\n"
_READY = re.compile(rb"ready ([0-9]{1,5})")
_REST_BYTES_MAX = 64
"""Of a word whose end has not come. None that is known is as long."""


def words_of(rest: bytes, heard: bytes) -> tuple[list[bytes], bytes]:
    """A worker's words that are whole now, and the rest, to be given the next time."""
    *words, rest = (rest + heard).split(b"\n")
    return words, rest[-_REST_BYTES_MAX:]


def port_of(word: bytes) -> int | None:
    """The port of a worker that says that it is ready; None for any other word."""
    ready = _READY.fullmatch(word)
    return int(ready[1]) if ready else None


class Pulse:
    """The worker's end. Used inside the event loop whose turning it proves."""

    def __init__(self, descriptor: int) -> None:
        self._line = socket.socket(fileno=descriptor)
        self._line.setblocking(False)

    def begin(self, orphaned: Callable[[], None]) -> None:
        """Beat from now on. `orphaned` is called when the supervisor is gone."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._line, self._hear, loop, orphaned)
        self._beat(loop)

    def ready(self, port: int) -> None:
        """Clients are served, on `port`."""
        self._say(READY % port)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._say(BEAT)
        loop.call_later(BEAT_INTERVAL_S, self._beat, loop)

    def _say(self, word: bytes) -> None:
        try:
            self._line.send(word)
        except BlockingIOError:
            return  # the supervisor does not read; the words before still wait for it
        except OSError:
            return  # it is gone, which `_hear` has been told

    def _hear(self, loop: asyncio.AbstractEventLoop, orphaned: Callable[[], None]) -> None:
        try:
            heard = self._line.recv(64)
        except OSError:
            heard = b""
        if not heard:
            loop.remove_reader(self._line)
            orphaned()
