"""Keeps the routes in step with this gateway's rooms: one writer, in order, several changes in one call.

A room may empty and fill again while its change waits: the rooms decide, at the last moment, what is written.
"""

import asyncio
from collections.abc import Callable, Sequence

from posthouse.cache.base import CacheUnavailable, LogKey, Routes
from posthouse.messaging.hearing import Hearing

SOURCE = "routes"
CHANGES_MAX = 5_000


class Registrar:
    """Registers logs before their sessions sync; unregisters them when nobody is left."""

    def __init__(
        self, gateway: str, routes: Routes, wanted: Callable[[LogKey], bool], hearing: Hearing
    ) -> None:
        self._gateway = gateway
        self._routes = routes
        self._hearing = hearing
        self._wanted = wanted
        self._joining: list[LogKey] = []
        self._leaving: list[LogKey] = []
        self._turn = asyncio.Lock()

    async def register(self, new: Sequence[LogKey]) -> None:
        """Return once these logs, and all that were being registered before, stand in the routes.

        While the cache is away they cannot, and nobody is kept out for that: the gateway then asks the feed itself,
        which begins with reading all heads, and the routes are made good by a later `keep`.
        """
        self._joining.extend(new)
        if not self._joining:
            return
        async with self._turn:
            while self._joining:
                keys = self._joining[:CHANGES_MAX]
                try:
                    await self._routes.register(self._gateway, [key for key in keys if self._wanted(key)])
                except CacheUnavailable as error:
                    self._hearing.doubt(SOURCE, str(error))
                del self._joining[: len(keys)]

    async def keep(self) -> Sequence[LogKey]:
        """To be called each second: keeps the routes alive. Returns the logs whose routes had been lost."""
        try:
            lost = await self._routes.keep(self._gateway)
        except CacheUnavailable as error:
            self._hearing.doubt(SOURCE, str(error))
            return ()
        self._hearing.trust(SOURCE)
        return lost

    def unregister_later(self, key: LogKey) -> None:
        """A room has emptied; `flush` tells the routes unless somebody has come back by then."""
        self._leaving.append(key)

    async def flush(self) -> None:
        """Unregister what is still unwanted."""
        if not self._leaving:
            return
        async with self._turn:
            while self._leaving:
                keys = self._leaving[:CHANGES_MAX]
                await self._routes.unregister(self._gateway, [key for key in keys if not self._wanted(key)])
                del self._leaving[: len(keys)]
