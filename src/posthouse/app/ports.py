"""What a node stands on: databases, cache and bus. Tests and the simulation give others than `ports` makes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from posthouse.app.caches import Caches, caches
from posthouse.app.config import ConfigError
from posthouse.app.config.values import Config
from posthouse.app.databases import MAIN, databases as engines
from posthouse.app.reaching import Unreachable
from posthouse.bus.base import Bus
from posthouse.cache.base import Leases, Nodes, Routes
from posthouse.cluster.databases import Databases
from posthouse.cluster.routing import RoutedDatabase
from posthouse.kit.clock import Clock
from posthouse.storage.base import Condition, Database, Storage
from posthouse.valkey.link import Unavailable


async def _nothing() -> None:
    """Memory engines need neither opening nor closing."""


@dataclass(frozen=True)
class Ports:
    """`log` answers for all `databases`, which are by name; `owner(app, log)` names the one where a log lies now.

    `shards` follows the shard map, where there is one. `probes` asks what stands behind cache and bus how it is, by
    kind, and `statistics` counts it; both are empty for memory. `open_cache` raises `Unreachable`.
    """

    databases: Mapping[str, Database]
    log: Storage
    bus: Bus
    routes: Routes
    leases: Leases
    nodes: Nodes
    owner: Callable[[str, str], str] = lambda app, log: MAIN
    shards: Databases | None = None
    probes: Mapping[str, Callable[[], Awaitable[Condition]]] = field(default_factory=dict)
    statistics: Mapping[str, Callable[[], Mapping[str, int]]] = field(default_factory=dict)
    open_cache: Callable[[], Awaitable[None]] = _nothing
    close_cache: Callable[[], Awaitable[None]] = _nothing


def ports(config: Config, clock: Clock) -> Ports:
    """What `config` names. Nothing is opened yet. Raises `ConfigError` for what cannot stand together."""
    if config.cache.url != "memory" and not config.databases and config.database.url == "sqlite":
        raise ConfigError(
            "database.url must be postgresql://…: with cache.url this node is one of several, which share the messages"
        )
    databases = Databases(engines(config, clock), clock)
    soft = caches(config, clock, clock.now_ms())

    async def open_cache() -> None:
        try:
            await soft.start()
        except Unavailable as error:
            raise Unreachable(f"cache.url or bus.url: {error}") from None

    return Ports(
        databases=databases.named,
        log=RoutedDatabase(databases),
        owner=databases.owner,
        shards=databases,
        bus=soft.bus,
        routes=soft.routes,
        leases=soft.leases,
        nodes=soft.nodes,
        probes={kind: _probe(soft, kind) for kind in soft.deployments},
        statistics={kind: behind.statistics for kind, behind in soft.deployments.items()},
        open_cache=open_cache,
        close_cache=soft.close,
    )


def _probe(soft: Caches, kind: str) -> Callable[[], Awaitable[Condition]]:
    """The engines ask their servers all the time: what they found is the answer."""

    async def probe() -> Condition:
        trouble = soft.deployments[kind].trouble
        return Condition(trouble is None, trouble is None, str(trouble or ""))

    return probe
