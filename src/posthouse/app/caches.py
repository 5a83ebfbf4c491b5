"""From the configuration to the engines of cache and bus: the place that names them."""

from typing import NamedTuple

from posthouse.app.config.values import Config
from posthouse.bus.base import Bus
from posthouse.cache.base import Leases, Nodes, Routes
from posthouse.kit.clock import Clock
from posthouse.valkey.deployment import Deployment


class Caches(NamedTuple):
    """Cache and bus of a node. `deployments` are the servers behind them, by "cache" and "bus"; none for memory."""

    routes: Routes
    leases: Leases
    nodes: Nodes
    bus: Bus
    deployments: dict[str, Deployment]

    async def start(self) -> None:
        """Link to the servers. Raises `posthouse.valkey.link.Misconfigured` or `Unavailable`, naming server and
        remedy; the engines go on trying all the same."""
        for deployment in self.deployments.values():
            await deployment.start()

    async def close(self) -> None:
        """End all links. Unsubscribe first."""
        for deployment in self.deployments.values():
            await deployment.close()


def caches(config: Config, clock: Clock, incarnation: int) -> Caches:
    """What `config` names, not yet started. `incarnation` is this start of the node; later ones are higher."""
    if config.cache.url == "memory":
        from posthouse.bus.engines.memory import MemoryBus
        from posthouse.cache.engines.memory import MemoryLeases, MemoryNodes, MemoryRoutes

        return Caches(MemoryRoutes(), MemoryLeases(clock), MemoryNodes(clock), MemoryBus(), {})
    from posthouse.bus.engines.redis.bus import RedisBus
    from posthouse.cache.engines.redis.leases import RedisLeases
    from posthouse.cache.engines.redis.nodes import RedisNodes
    from posthouse.cache.engines.redis.routes import RedisRoutes

    prefix, timeout_s = config.cache.prefix, config.cache.answer_timeout_ms / 1000
    cache = _deployment(config.cache.url, timeout_s, clock)
    bus = _deployment(
        config.bus.url or config.cache.url, timeout_s, clock
    )  # links of its own: big messages hold up
    return Caches(
        RedisRoutes(cache, incarnation, prefix, timeout_s),
        RedisLeases(cache, prefix),
        RedisNodes(cache, prefix),
        RedisBus(bus, prefix),
        {"cache": cache, "bus": bus},
    )


def _deployment(url: str, answer_timeout_s: float, clock: Clock) -> Deployment:
    from posthouse.valkey.address import parse
    from posthouse.valkey.choosing import deployment
    from posthouse.valkey.link import LinkLimits

    return deployment(parse(url), limits=LinkLimits(answer_timeout_s=answer_timeout_s), clock=clock)
