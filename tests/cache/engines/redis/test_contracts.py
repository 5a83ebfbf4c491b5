"""The engines on Redis and Valkey keep the contracts: on one server, with Sentinel, and as a Cluster."""

from collections.abc import AsyncIterator

import pytest

from posthouse.cache.base import Leases, Nodes, Routes
from posthouse.cache.engines.redis.leases import RedisLeases
from posthouse.cache.engines.redis.nodes import RedisNodes
from posthouse.cache.engines.redis.routes import RedisRoutes
from posthouse.testing.contracts.leases import LeasesContract
from posthouse.testing.contracts.nodes import NodesContract
from posthouse.testing.contracts.routes import ALL, RoutesContract
from posthouse.valkey.deployment import Deployment
from tests.valkey.shared import MODES, Sites, fresh_prefix, linked


@pytest.fixture(params=MODES)
async def links(request: pytest.FixtureRequest, sites: Sites) -> AsyncIterator[Deployment]:
    async with linked(sites[request.param].url) as deployment:
        yield deployment


class TestRedisRoutes(RoutesContract):
    @pytest.fixture
    async def routes(self, links: Deployment) -> Routes:
        """As of gateways that have begun: before that, each counts as following everything."""
        routes = RedisRoutes(links, 1, fresh_prefix(), answer_timeout_s=5.0)
        for gateway in ALL:
            await routes.keep(gateway)
        return routes


class TestRedisLeases(LeasesContract):
    @pytest.fixture
    async def leases(self, links: Deployment) -> Leases:
        return RedisLeases(links, fresh_prefix())


class TestRedisNodes(NodesContract):
    @pytest.fixture
    async def nodes(self, links: Deployment) -> Nodes:
        return RedisNodes(links, fresh_prefix())
