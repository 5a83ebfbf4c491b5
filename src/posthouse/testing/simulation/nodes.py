"""A simulated node: the product's own parts on simulated ports, in a life that may end at any moment."""

import random
from collections.abc import Callable, Mapping, Sequence

from posthouse.api.service import Endpoint
from posthouse.app.config.values import Auth, Config, Listen, Node as NodeRoom
from posthouse.app.parts import Parts
from posthouse.app.ports import Ports
from posthouse.app.reaching import Unreachable
from posthouse.app.secrets import Credentials
from posthouse.cache.base import CacheUnavailable
from posthouse.cluster.databases import Databases
from posthouse.cluster.routing import RoutedDatabase
from posthouse.gateway.websocket import SocketHandler
from posthouse.kit.log import logger
from posthouse.storage.base import StorageError
from posthouse.testing.simulation.cache import Cache, CacheBus, CacheLeases, CacheNodes, CacheRoutes
from posthouse.testing.simulation.database import Database
from posthouse.testing.simulation.engine import SimulatedEngine
from posthouse.testing.simulation.links import ServerEnd
from posthouse.testing.simulation.network import Host, Network

_log = logger(__name__)

START_RETRY_S = 1.0


class SimulatedNode:
    """One machine that runs a node. It is started again whenever it was crashed."""

    def __init__(
        self,
        name: str,
        network: Network,
        databases: Mapping[str, Database],
        cache: Cache,
        keys: Credentials,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.parts: Parts | None = None
        self.skew_ms = 0
        self._network = network
        self._databases = databases
        self._cache = cache
        self._keys = keys
        self._rng = rng
        self.host = network.start(name)
        self.starts = 0

    def __repr__(self) -> str:
        return f"<SimulatedNode {self.name} {self.host}>"

    def start(self) -> None:
        """Begin a life, unless there is one."""
        if self.starts and self.host.alive:
            return
        self.host = self._network.start(self.name, skew_ms=self.skew_ms)
        self.parts = None
        self.starts += 1
        self.host.tasks.spawn("start", self._start(self.host))

    async def crash(self) -> None:
        """The process is gone. Its tasks are ended only to tidy up: a dead host's doings come to nothing."""
        host, parts, self.parts = self.host, self.parts, None
        host.crash()
        if parts is not None:
            await parts.tasks.close()
            await parts.gateway.tasks.close()
        await host.tasks.close()

    async def stop(self) -> None:
        """The operator stops the process in order."""
        host = self.host
        if self.parts is not None:
            await self.parts.stop(_nothing)
        if self.host is host:  # else it was crashed meanwhile, and started again
            await self.crash()

    def accept(self, end: ServerEnd) -> SocketHandler:
        """A client connects. Raises `ConnectionRefusedError` while nobody listens."""
        if self.parts is None:
            raise ConnectionRefusedError(f"{self.name} does not listen")
        return self.parts.gateway.accept(end)  # type: ignore[arg-type]  # in the place of a Socket

    def endpoints(self) -> Sequence[Endpoint]:
        """What this node answers a client who asks where to connect."""
        if self.parts is None:
            return ()
        return self.parts.balancing.endpoints(self.name, secure=False, reasons=False)

    @property
    def alone(self) -> bool:
        """Whether it knows of no other node that takes clients, where there are others."""
        return self.parts is not None and self.parts.balancing.alone

    async def _start(self, host: Host) -> None:
        rng = random.Random(self._rng.getrandbits(64))
        parts = Parts(_config(self.name), self._ports(host), self._keys, host.clock, self.name, rng=rng)
        try:
            await parts.start()
        except (StorageError, CacheUnavailable, Unreachable, RuntimeError) as error:
            _log.debug("a node could not start", node=self.name, reason=str(error))
            await parts.tasks.close()
            self._network.tasks.spawn("start again", self._start_again(host))
        else:
            parts.reporter.serving = True
            self.parts = parts

    async def _start_again(self, host: Host) -> None:
        """As a supervisor does, in a life of its own: a process that gave up is not subscribed to anything any more."""
        await host.clock.sleep(START_RETRY_S)
        await self.crash()
        self.start()

    def _ports(self, host: Host) -> Ports:
        engines = {name: SimulatedEngine(database, host) for name, database in self._databases.items()}
        databases = Databases(engines, host.clock)
        return Ports(
            databases=databases.named,
            log=RoutedDatabase(databases),
            owner=databases.owner,
            shards=databases,
            bus=CacheBus(self._cache, host),
            routes=CacheRoutes(self._cache, host),
            leases=CacheLeases(self._cache, host),
            nodes=CacheNodes(self._cache, host),
        )


def _config(name: str) -> Config:
    url = f"http://{name}"
    return Config(listen=Listen(public_url=url), node=NodeRoom(name=name), auth=Auth(resume_secret="x" * 32))


async def _nothing() -> None:
    """There are no sockets to close."""


Accept = Callable[[ServerEnd], SocketHandler]
