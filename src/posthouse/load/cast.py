"""The clients of a play, one a nick: connected when the first day with the nick begins, closed after the last one.

Days that run at the same time share them. Belongs to one event loop.
"""

import asyncio
from collections.abc import Sequence

from posthouse.client import Client, EntryReceived, Runtime
from posthouse.kit.tasks import start
from posthouse.load.backend import Backend
from posthouse.testing.history import Reader

DEVICE = "replay"
CONNECTING_MAX = 50
"""Clients connecting at once; the others wait their turn."""
CONNECT_TIMEOUT_S = 120.0
OUTBOX_MESSAGES_MAX = 10_000


class Player:
    """One nick's client. `readers` are told what it receives, each of its conversation."""

    def __init__(self, nick: str, client: Client) -> None:
        self.nick = nick
        self.client = client
        self.days = 0
        self.readers: dict[str, Reader] = {}
        self.connected: asyncio.Task[None]
        client.on(EntryReceived)(self._take)

    def _take(self, event: EntryReceived) -> None:
        reader = self.readers.get(event.entry.conv)
        if reader is not None:  # else it is of another day, played before
            reader.see(event.entry)


class Cast:
    """Everyone who takes part in a running day."""

    def __init__(self, address: str, backend: Backend, runtime: Runtime, reconnect_jitter_s: float) -> None:
        self._address = address
        self._backend = backend
        self._runtime = runtime
        self._reconnect_jitter_s = reconnect_jitter_s
        self._players: dict[str, Player] = {}
        self._connecting = asyncio.Semaphore(CONNECTING_MAX)
        self.clients = 0
        """Clients made since the start."""

    async def enter(self, nicks: Sequence[str]) -> dict[str, Player]:
        """The players of a day, each connected. To be ended by `leave`, also when it fails."""
        players = {nick: self._players.get(nick) or self._hire(nick) for nick in nicks}
        for player in players.values():
            player.days += 1
        await asyncio.gather(*(player.connected for player in players.values()))
        return players

    async def leave(self, nicks: Sequence[str]) -> None:
        """The day is over: close the clients that no other running day needs."""
        players = [self._players[nick] for nick in nicks if nick in self._players]
        for player in players:
            player.days -= 1
        over = [player for player in players if player.days == 0]
        for player in over:
            del self._players[player.nick]
            player.connected.cancel()
        await asyncio.gather(*(player.client.close() for player in over))

    def _hire(self, nick: str) -> Player:
        async def token() -> str:
            return await self._backend.token(nick, DEVICE)

        client = Client(
            self._address,
            token=token,
            device=DEVICE,
            runtime=self._runtime,
            outbox_messages_max=OUTBOX_MESSAGES_MAX,
            reconnect_jitter_s=self._reconnect_jitter_s,
        )
        player = self._players[nick] = Player(nick, client)
        player.connected = start(self._connect(client))
        self.clients += 1
        return player

    async def _connect(self, client: Client) -> None:
        async with self._connecting:
            await client.start()
            await client.wait_connected(CONNECT_TIMEOUT_S)
