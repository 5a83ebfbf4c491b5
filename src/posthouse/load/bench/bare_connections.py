"""What a connection costs without a session: the gateway's own listener, with a handler that does nothing.

Runs in a worker of its own.
"""

import asyncio

from posthouse.gateway.connections import SocketLimits
from posthouse.gateway.listener import Listener
from posthouse.gateway.upgrade import UpgradeRequest
from posthouse.gateway.websocket import Socket
from posthouse.kit.clock import SystemClock


class _Nobody:
    def received(self, message: bytes) -> None:
        """Drop it."""

    def overflowed(self) -> None:
        """Nothing is sent."""

    def closed(self, code: int) -> None:
        """Nobody cares."""


class BareConnections:
    """The worker's subject."""

    def __init__(self) -> None:
        nobody = _Nobody()
        limits = SocketLimits(connections_max=19_000)

        def accept(_socket: Socket, _request: UpgradeRequest) -> _Nobody:
            return nobody

        self._listener = Listener(limits, accept, asyncio.Protocol, clock=SystemClock())

    async def close(self) -> None:
        """Stop listening; whoever is still connected is dropped with the process."""

    async def listen(self) -> int:
        """Start; returns the port."""
        await self._listener.start("127.0.0.1", 0)
        return self._listener.port
