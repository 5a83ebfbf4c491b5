"""Batched loading: while one query is in flight the following keys gather, and go out together.

Where that is not enough, as queries are fast and keys come one by one, many queries in a row are paced, so that more
keys gather: ten thousand sessions that resume at once cost a few hundred. One `Gather` per kind of question.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from posthouse.kit.clock import Clock
from posthouse.kit.limits import TokenBucket
from posthouse.kit.tasks import start

K = TypeVar("K")
V = TypeVar("V")

QUERIES_PER_S = 20.0
QUERIES_BURST = 40.0
"""So many queries in a row never wait, nor does one with all the keys it may take."""

Waiting = list[tuple[Sequence[K], asyncio.Future[dict[K, V]]]]


class Gather(Generic[K, V]):
    """Answers questions about keys of one scope (an app) with as few calls of `load` as it can.

    `load(scope, keys)` returns what it found by key. At most `keys_max` keys go into one call, more only when a
    single question asks for more.
    """

    def __init__(
        self, load: Callable[[str, list[K]], Awaitable[Mapping[K, V]]], clock: Clock, keys_max: int = 2_000
    ) -> None:
        self._load = load
        self._clock = clock
        self._pace = TokenBucket(QUERIES_PER_S, QUERIES_BURST, clock.monotonic())
        self._keys_max = keys_max
        self._waiting: dict[str, Waiting[K, V]] = {}
        self._running: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.loads = 0

    async def get(self, scope: str, keys: Sequence[K]) -> dict[K, V]:
        """What is known of `keys`; keys that do not exist are left out. Raises what `load` raises."""
        future: asyncio.Future[dict[K, V]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(scope, []).append((keys, future))
        if scope not in self._running:
            self._running.add(scope)
            task = start(self._run(scope))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _run(self, scope: str) -> None:
        await asyncio.sleep(0)
        while self._waiting.get(scope):
            await self._wait_turn(scope)
            group = self._take(scope)
            found = await self._ask(
                scope, list(dict.fromkeys(key for keys, _ in group for key in keys)), group
            )
            if found is not None:
                _answer(group, found)
        self._waiting.pop(scope, None)
        self._running.discard(scope)

    async def _wait_turn(self, scope: str) -> None:
        wait_s = self._pace.wait_s(self._clock.monotonic())
        if wait_s > 0 and sum(len(keys) for keys, _ in self._waiting[scope]) < self._keys_max:
            await self._clock.sleep(wait_s)
        self._pace.take(self._clock.monotonic())

    def _take(self, scope: str) -> Waiting[K, V]:
        waiting = self._waiting[scope]
        count = size = 0
        while count < len(waiting) and (count == 0 or size + len(waiting[count][0]) <= self._keys_max):
            size += len(waiting[count][0])
            count += 1
        self._waiting[scope] = waiting[count:]
        return waiting[:count]

    async def _ask(self, scope: str, keys: list[K], group: Waiting[K, V]) -> Mapping[K, V] | None:
        self.loads += 1
        try:
            return await self._load(scope, keys)
        except Exception as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return None


def _answer(group: Waiting[K, V], found: Mapping[K, V]) -> None:
    for keys, future in group:
        if not future.done():
            future.set_result({key: found[key] for key in keys if key in found})
