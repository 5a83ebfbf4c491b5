"""The routes of a cluster of one keep the contract."""

import pytest

from posthouse.cache.base import LogKey, Routes
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.testing.contracts.routes import RoutesContract


class TestMemoryRoutes(RoutesContract):
    @pytest.fixture
    def routes(self) -> Routes:
        return MemoryRoutes()


async def test_logs_that_nobody_follows_any_more_take_no_memory() -> None:
    routes = MemoryRoutes()
    keys: list[LogKey] = [("app", str(number)) for number in range(1_000)]
    await routes.register("n", keys)
    await routes.unregister("n", keys)
    assert routes._routes == {}
    assert len(routes._shared) == 1
