"""What a node stands on: databases, cache and bus. Tests and the simulation give others than `ports` makes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from posthouse.app.config.values import Config
from posthouse.app.databases import database
from posthouse.bus.base import Bus
from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.base import Leases, Nodes, Routes
from posthouse.cache.engines.memory import MemoryLeases, MemoryNodes, MemoryRoutes
from posthouse.kit.clock import Clock
from posthouse.storage.base import Condition, Database

ONLY = "main"
"""The name of a database that has no name of its own."""


async def _nothing() -> None:
    """Memory engines need neither opening nor closing."""


@dataclass(frozen=True)
class Ports:
    """`log` answers for all `databases`, which are by name; `owner(app, log)` names the one where a log lies now.

    `probes` asks what stands behind cache and bus how it is, by kind; empty for memory.
    """

    databases: Mapping[str, Database]
    log: Database
    bus: Bus
    routes: Routes
    leases: Leases
    nodes: Nodes
    owner: Callable[[str, str], str] = lambda app, log: ONLY
    probes: Mapping[str, Callable[[], Awaitable[Condition]]] = field(default_factory=dict)
    open_cache: Callable[[], Awaitable[None]] = _nothing
    close_cache: Callable[[], Awaitable[None]] = _nothing


def ports(config: Config, clock: Clock) -> Ports:
    """What `config` names. Nothing is opened yet."""
    only = database(config, clock)
    return Ports(
        databases={ONLY: only},
        log=only,
        bus=MemoryBus(),
        routes=MemoryRoutes(),
        leases=MemoryLeases(clock),
        nodes=MemoryNodes(clock),
    )
