"""Batched loading: while one query is in flight the following keys gather, and go out together.

Where that is not enough, as queries are fast and keys come one by one, many queries in a row are paced, so that more
keys gather: ten thousand sessions that resume at once cost a few hundred. One `Gather` per kind of question and place:
a database that hangs keeps no question to another one waiting.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from posthouse.kit.clock import Clock
from posthouse.kit.limits import TokenBucket
from posthouse.kit.tasks import abandon, start

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


class Gathers(Generic[K, V]):
    """One `Gather` for each place: `place_of(app, key)` says where a key lies."""

    def __init__(
        self,
        load: Callable[[str, list[K]], Awaitable[Mapping[K, V]]],
        clock: Clock,
        place_of: Callable[[str, K], str],
        keys_max: int,
    ) -> None:
        self._load = load
        self._clock = clock
        self._keys_max = keys_max
        self._place_of = place_of
        self._gathers: dict[str, Gather[K, V]] = {}

    @property
    def loads(self) -> int:
        """How many questions were put."""
        return sum(gather.loads for gather in self._gathers.values())

    async def get(
        self,
        app: str,
        keys: Sequence[K],
        patience_s: float | None = None,
        heard: Callable[[Mapping[K, V]], None] = lambda found: None,
    ) -> dict[K, V] | dict[K, V | None]:
        """As `Gather.get`. Once one place has answered, the others have `patience_s`; then their keys are None. `heard`
        is told what each place says in that moment: when all have answered somebody may have heard newer."""
        groups: dict[str, list[K]] = {}
        for key in keys:
            groups.setdefault(self._place_of(app, key), []).append(key)
        if len(groups) == 1:
            (place,) = groups
            return await self._ask(place, app, keys, heard)
        asked = {start(self._ask(place, app, own, heard)): own for place, own in groups.items()}
        return await _answered(asked, patience_s) if asked else {}

    async def _ask(
        self, place: str, app: str, keys: Sequence[K], heard: Callable[[Mapping[K, V]], None]
    ) -> dict[K, V]:
        found = await self._of(place).get(app, keys)
        heard(found)
        return found

    def _of(self, place: str) -> Gather[K, V]:
        if place not in self._gathers:
            self._gathers[place] = Gather(self._load, self._clock, self._keys_max)
        return self._gathers[place]


async def _answered(
    asked: Mapping[asyncio.Task[dict[K, V]], list[K]], patience_s: float | None
) -> dict[K, V | None]:
    found: dict[K, V | None] = {}
    try:
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(asked, timeout=patience_s)
    finally:
        for task in asked:
            abandon(task)
    errors = [error for task in asked if task.done() and (error := task.exception()) is not None]
    if errors:
        raise errors[0]
    for task, keys in asked.items():
        found |= task.result() if task.done() else dict.fromkeys(keys)
    return found


def _answer(group: Waiting[K, V], found: Mapping[K, V]) -> None:
    for keys, future in group:
        if not future.done():
            future.set_result({key: found[key] for key in keys if key in found})
