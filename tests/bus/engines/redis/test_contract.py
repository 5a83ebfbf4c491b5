"""The bus on Redis and Valkey keeps the contract: on one server, with Sentinel, and as a Cluster."""

from collections.abc import AsyncIterator

import pytest

from posthouse.bus.base import Bus
from posthouse.bus.engines.redis.bus import RedisBus
from posthouse.testing.contracts.bus import BusContract
from tests.valkey.shared import MODES, Sites, fresh_prefix, linked


class TestRedisBus(BusContract):
    @pytest.fixture(params=MODES)
    async def bus(self, request: pytest.FixtureRequest, sites: Sites) -> AsyncIterator[Bus]:
        async with linked(sites[request.param].url) as deployment:
            bus = RedisBus(deployment, fresh_prefix())
            yield bus
            await bus.close()
