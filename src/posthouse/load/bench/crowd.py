"""Many SDK clients in one worker process."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from posthouse.client import Client, Runtime
from posthouse.load.bench.passes import Passes

DEVICE = "bench"
HEARTBEAT_S = 30
CONNECTING_MAX = 100
"""Clients connecting at once; the others wait their turn."""
CONNECT_TIMEOUT_S = 120.0


class Crowd:
    """The clients, by user. `runtime` is shared by all of them."""

    def __init__(self) -> None:
        self.runtime = Runtime()
        self.clients: dict[str, Client] = {}
        self._connecting = asyncio.Semaphore(CONNECTING_MAX)

    async def connect(
        self,
        address: str,
        folder: str,
        users: Iterable[str],
        *,
        prepare: Callable[[str, Client], None] | None = None,
        device: str = "",
        from_joining: bool = False,
    ) -> None:
        """Connect a client for each user; `folder` holds the keys. `prepare` is called before the client starts.

        `device` empty: each is named after its user. `from_joining`: they fetch what was written since they joined.
        """
        passes = Passes(Path(folder), self.runtime.clock)
        entering = []
        for user in users:
            client = Client(
                address,
                token=passes.token(user),
                device=device or user,
                runtime=self.runtime,
                heartbeat_s=HEARTBEAT_S,
                outbox_messages_max=100_000,
                catch_up="all" if from_joining else "live",
            )
            if prepare is not None:
                prepare(user, client)
            self.clients[user] = client
            entering.append(self._connect(client))
        await asyncio.gather(*entering)

    async def close(self) -> None:
        """Close all clients, and the runtime."""
        await asyncio.gather(*(client.close() for client in self.clients.values()))
        self.clients.clear()
        await self.runtime.close()

    async def _connect(self, client: Client) -> None:
        async with self._connecting:
            await client.start()
            await client.wait_connected(CONNECT_TIMEOUT_S)
