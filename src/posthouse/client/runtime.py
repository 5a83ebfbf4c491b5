"""What the clients of one process share: clock, chance, alarms, tasks, HTTP, and the endpoints known of each address.

A client makes its own unless it is given one; give many clients the same one. Belongs to one event loop.
"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import msgspec

from posthouse.client import transport
from posthouse.client.alarms import Alarms
from posthouse.client.endpoints import LIST_PATH, Address, Endpoint, EndpointList
from posthouse.client.errors import RequestFailed
from posthouse.client.http import Http
from posthouse.kit.chance import system_random
from posthouse.kit.clock import Clock, SystemClock
from posthouse.kit.tasks import Tasks

ADDRESSES_MAX = 100
Connect = Callable[[str, transport.Receiver, ssl.SSLContext | None], Awaitable[transport.Transport]]
"""Opens a WebSocket; raises `ConnectFailed`."""


class Runtime:
    """Shared by clients; `close` it after they are closed, or use it as an async context manager."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        tls: ssl.SSLContext | None = None,
        connect: Connect = transport.connect,
        http: Http | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.rng = rng or system_random()
        self.tls = tls
        self.tasks = Tasks(self.clock)
        self.alarms = Alarms(self.clock, self.tasks)
        self.connect = connect
        self.http = http or Http(tls)
        self._known: dict[str, tuple[float, tuple[Endpoint, ...]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop the tasks and close the HTTP connections."""
        await asyncio.sleep(0)  # a task cancelled before its first step would leave its coroutine unawaited
        await self.tasks.close()
        await self.http.close()

    def known_endpoints(self, address: Address) -> tuple[Endpoint, ...]:
        """What was learned of an address, fresh or not."""
        return self._known.get(address.api, (0.0, ()))[1]

    async def endpoints(self, address: Address) -> tuple[Endpoint, ...]:
        """The endpoints behind an address: asked for when what is known is older than its time to live.

        An address that does not answer gives what was known, or nothing: the caller has a fallback.
        """
        until, known = self._known.get(address.api, (0.0, ()))
        now = self.clock.monotonic()
        if known and now < until:
            return known
        try:
            answer = await self.http.ask("GET", address.api + LIST_PATH, {})
            listed = msgspec.json.decode(answer.body, type=EndpointList) if answer.status == 200 else None
        except (RequestFailed, msgspec.DecodeError):
            listed = None
        if listed is None or not listed.endpoints:
            return known
        if len(self._known) >= ADDRESSES_MAX:
            self._known.clear()
        self._known[address.api] = (now + max(1.0, listed.ttl_s), listed.endpoints)
        return listed.endpoints
