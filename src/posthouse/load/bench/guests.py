"""A worker's subject: users who are connected and do nothing, and sockets without any user."""

import asyncio

from posthouse.client import Client, Connected, Resumed
from posthouse.client.transport import Transport, connect
from posthouse.load.bench.crowd import CONNECTING_MAX, DEVICE, Crowd


class Guests:
    """Counts the sessions that come about; see `watch`."""

    def __init__(self) -> None:
        self._crowd = Crowd()
        self._clock = self._crowd.runtime.clock
        self._sockets: list[Transport] = []
        self._attempts_before = 0
        self._resumed = 0
        self._started_afresh = 0
        self._last_at = 0.0

    async def close(self) -> None:
        """End all clients and sockets."""
        for socket in self._sockets:
            socket.abort()
        await self._crowd.close()

    async def enter(self, address: str, folder: str, users: list[str]) -> None:
        """Connect a client for each user."""
        await self._crowd.connect(address, folder, users, prepare=self._prepare, device=DEVICE)

    async def enter_bare(self, url: str, sockets: int) -> None:
        """Open WebSockets and say nothing."""
        for at in range(0, sockets, CONNECTING_MAX):
            opening = (connect(url, _Silent(), None) for _ in range(min(CONNECTING_MAX, sockets - at)))
            self._sockets += await asyncio.gather(*opening)

    async def watch(self) -> None:
        """Count from now on."""
        self._attempts_before = self._attempts()
        self._resumed = self._started_afresh = 0

    async def seen(self) -> dict[str, float]:
        """What has happened since `watch`; `last_at` is on the machine's monotonic clock."""
        return {
            "resumed": self._resumed,
            "started_afresh": self._started_afresh,
            "attempts": self._attempts() - self._attempts_before,
            "last_at": self._last_at,
        }

    def _prepare(self, _user: str, client: Client) -> None:
        client.on(Connected)(self._connected)

    def _connected(self, event: Connected) -> None:
        self._last_at = self._clock.monotonic()
        if isinstance(event, Resumed):
            self._resumed += 1
        else:
            self._started_afresh += 1

    def _attempts(self) -> int:
        return sum(client.statistics().connection_attempts for client in self._crowd.clients.values())


class _Silent:
    """Hears nothing."""

    def received(self, message: bytes) -> None:
        """Drop it."""

    def lost(self, transport: Transport, code: int, reason: str) -> None:
        """Nobody comes back."""
