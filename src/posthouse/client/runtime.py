"""What the clients of one process share: clock, chance, alarms, tasks, HTTP, and the endpoints known of each address.

A client makes its own unless it is given one; give many clients the same one. Belongs to one event loop.
"""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from math import inf
from types import TracebackType
from typing import Any, Self

import msgspec

from posthouse.client import transport
from posthouse.client.alarms import Alarms
from posthouse.client.endpoints import LIST_PATH, EndpointList, read_list
from posthouse.client.errors import RequestFailed
from posthouse.client.http import Http
from posthouse.kit.chance import system_random
from posthouse.kit.clock import Clock, SystemClock
from posthouse.kit.tasks import Tasks, start

LISTS_MAX = 100
HEAD_START_S = 0.5
"""Before a second node is asked for the endpoints, and so on."""
ASK_TIMEOUT_S = 3.0
Connect = Callable[[str, transport.Receiver, ssl.SSLContext | None], Coroutine[Any, Any, transport.Transport]]
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
        self._lists: dict[str, tuple[float, EndpointList]] = {}
        self._looking: dict[str, asyncio.Task[EndpointList | None]] = {}

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
        for looking in list(self._looking.values()):
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        await self.http.close()

    async def endpoints(self, apis: Sequence[str], *, key: str, newer_than: float) -> EndpointList | None:
        """Which endpoints there are, with what is left of their time to live; None when nobody says.

        Clients with the same `key` share one answer and one asking, unless the answer is not `newer_than` a moment
        that made it doubtful. Any of `apis` may answer: each is asked after the one before it has failed, or has not
        answered for a moment.
        """
        learned_at, listed = self._lists.get(key, (-inf, None))
        age_s = self.clock.monotonic() - learned_at
        if listed is not None and age_s < listed.ttl_s / 2 and learned_at >= newer_than:
            return msgspec.structs.replace(listed, ttl_s=listed.ttl_s - age_s)
        looking = self._looking.get(key)
        if looking is None:
            looking = self._looking[key] = start(self._look(key, apis))
            looking.add_done_callback(lambda _: self._looking.pop(key, None))
        return await asyncio.shield(looking)

    async def _look(self, key: str, apis: Sequence[str]) -> EndpointList | None:
        asking: list[asyncio.Task[EndpointList | None]] = []
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                listed = await self._first_answer(apis, asking)
        except TimeoutError:
            listed = None
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if listed is not None:
            if len(self._lists) >= LISTS_MAX:
                self._lists.clear()
            self._lists[key] = (self.clock.monotonic(), listed)
        return listed

    async def _first_answer(
        self, apis: Sequence[str], asking: list[asyncio.Task[EndpointList | None]]
    ) -> EndpointList | None:
        waiting = deque(apis)
        while True:
            open_ones = [task for task in asking if not task.done()]
            if waiting:
                asking.append(start(self._ask(waiting.popleft())))
                open_ones.append(asking[-1])
            if not open_ones:
                return None
            await asyncio.wait(
                open_ones,
                timeout=HEAD_START_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in asking:
                if task.done() and task.result() is not None:
                    return task.result()

    async def _ask(self, api: str) -> EndpointList | None:
        try:
            answer = await self.http.ask("GET", api + LIST_PATH, {})
        except RequestFailed:
            return None
        return read_list(answer.body) if answer.status == 200 else None
