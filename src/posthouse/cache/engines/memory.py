"""The routes of a cluster of one: a dictionary. Used inside one event loop only."""

from collections.abc import Sequence

from posthouse.cache.base import LogKey

_NOBODY: frozenset[str] = frozenset()


class MemoryRoutes:
    """Knows everything there is to know, so it never answers "unknown"."""

    def __init__(self) -> None:
        self._routes: dict[LogKey, frozenset[str]] = {}
        self._shared: dict[frozenset[str], frozenset[str]] = {}

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        for key in keys:
            self._set(key, self._routes.get(key, _NOBODY) | {gateway})

    async def unregister(self, gateway: str, keys: Sequence[LogKey]) -> None:
        for key in keys:
            self._set(key, self._routes.get(key, _NOBODY) - {gateway})

    async def gateways(self, keys: Sequence[LogKey]) -> list[frozenset[str] | None]:
        return [self._routes.get(key, _NOBODY) for key in keys]

    def _set(self, key: LogKey, gateways: frozenset[str]) -> None:
        """Equal sets are kept once: a hundred thousand logs on one gateway share a single set."""
        if gateways:
            self._routes[key] = self._shared.setdefault(gateways, gateways)
        else:
            self._routes.pop(key, None)
