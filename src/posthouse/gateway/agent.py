"""HAProxy's agent-check: whoever connects gets one line and the connection is closed. Runs in the event loop.

Nothing is read, so nothing can be sent in; a connection lives for one write.
"""

import asyncio
from collections.abc import Callable
from typing import cast


class Agent:
    """Serves the line on a TCP port of its own."""

    def __init__(self, line: Callable[[], bytes]) -> None:
        self.answered = 0
        self.port = 0
        self._line = line
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises `OSError` when the address cannot be had."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Answering(self.line), host, port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def line(self) -> bytes:
        """What the next one who asks is told."""
        self.answered += 1
        return self._line()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()


class _Answering(asyncio.Protocol):
    def __init__(self, line: Callable[[], bytes]) -> None:
        self._line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast("asyncio.Transport", transport)
        writing.write(self._line())
        writing.close()
