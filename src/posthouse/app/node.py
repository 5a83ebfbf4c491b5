"""One node: its parts, and the sockets and the folder that they need of the machine. Wiring only."""

import asyncio
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from posthouse.api.call import Context
from posthouse.api.credentials import Credentials as ApiCredentials
from posthouse.api.server import protocols as api_protocols, start as start_api
from posthouse.api.web import build_api
from posthouse.app.certificates import CertificateError, Certificates
from posthouse.app.config.values import Config
from posthouse.app.lock import FILE as LOCK, FolderLock
from posthouse.app.operating import ClusterOperator
from posthouse.app.parts import Parts
from posthouse.app.ports import Ports, ports as choose_ports
from posthouse.app.secrets import Credentials, credentials
from posthouse.app.service import NodeService
from posthouse.app.settings import api_settings, socket_limits
from posthouse.app.tending import CanaryKeeper
from posthouse.auth.keys import ApiKeys, api_key_hash
from posthouse.auth.operators import OperatorKeys, operator_key
from posthouse.auth.tokens import TokenIssuer
from posthouse.gateway.agent import Agent
from posthouse.gateway.connections import SocketLimits
from posthouse.gateway.gateway import Gateway
from posthouse.gateway.listener import Listener
from posthouse.health.canary import Canaries
from posthouse.health.monitor import Monitor
from posthouse.health.reach import HttpReach
from posthouse.kit.clock import Clock, SystemClock
from posthouse.kit.descriptors import limit
from posthouse.kit.log import logger
from posthouse.kit.tls import NoAuthority, trusting
from posthouse.messaging.presence import Presence
from posthouse.storage.base import Storage

if TYPE_CHECKING:
    from posthouse.app.metrics import NodeMetrics

_log = logger(__name__)


class Node:
    """A server process: `start`, then clients are served on `port` until `stop`."""

    def __init__(
        self, config: Config, clock: Clock | None = None, ports: Ports | None = None, *, worker: int = 0
    ) -> None:
        """Nothing is opened yet. Raises `SecretsError`, `InvalidKey` and `CertificateError` for what cannot be used.

        `worker` is its number under a supervisor; 0: there is none, and nobody would start it again.
        """
        self._config = config
        self._clock = clock = clock or SystemClock()
        keys = credentials(config)
        name = config.node.name or f"{socket.gethostname()}-{config.listen.port}"
        self._monitor = Monitor(clock, network_bytes_per_s_max=config.node.network_bytes_per_s_max)
        self.parts = Parts(
            config, ports or choose_ports(config, clock), keys, clock, name, lambda: self._monitor.vitals
        )
        self._monitor.tasks = lambda: self.parts.tasks.running + self.gateway.tasks.running
        self.answers: Counter[tuple[str, int]] = Counter()
        self._api = self._build_api(keys)
        self._agent = Agent(self.parts.balancing.agent_line)
        self._lock = FolderLock(Path(config.data.folder), f"{LOCK}.{worker}" if worker else LOCK)
        self._certificates = (
            Certificates(config.tls, clock, self._told_of_certificate) if config.tls.certificate else None
        )
        self._reach = HttpReach(_vouching(config))
        self.canaries = self._canaries(name)
        self.parts.probes.reach = self._reach
        self.parts.probes.more.append(self.canaries.parts)
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self._metrics: NodeMetrics | None = None

    @property
    def port(self) -> int:
        """The port listened on, from `start` on."""
        return self._listener.port if self._listener is not None else 0

    @property
    def gateway(self) -> Gateway:
        """Where clients are connected."""
        return self.parts.gateway

    @property
    def database(self) -> Storage:
        """What everything is stored in."""
        return self.parts.ports.log

    async def start(self) -> None:
        """Open what the node stands on, and listen.

        Raises `FolderInUse`, `StorageUnavailable`, `Unreachable` or `OSError`, saying what to do.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config, parts = self._config, self.parts
        if self._certificates is not None:
            self._certificates.load()
        self._lock.acquire()
        await parts.start()
        parts.tasks.supervise("monitor", self._monitor.run)
        self._runner = await start_api(self._api)
        self._listener = Listener(
            self._socket_limits(),
            lambda opening, _request: parts.gateway.accept(opening),
            api_protocols(self._runner, partial(self._count_answer, "malformed")),
            clock=self._clock,
            allowed_origins=config.listen.allowed_origins,
        )
        direct_port = config.listen.direct_port
        await self._listener.start(
            config.listen.host, config.listen.port, self._tls(), direct_port=direct_port
        )
        if config.agent.port:
            await self._agent.start(config.agent.host or config.listen.host, config.agent.port)
        parts.reporter.port, parts.reporter.agent_port = direct_port or self.port, self._agent.port
        parts.reporter.serving = True
        if config.canary.interval_s > 0:
            parts.tasks.supervise("canaries", self.canaries.run)
        if self._certificates is not None:
            parts.tasks.supervise("certificate", self._certificates.watch)
        _log.info(
            "listening",
            host=config.listen.host,
            port=self.port,
            tls=self._certificates is not None,
            node=parts.gateway.node,
        )

    def _socket_limits(self) -> SocketLimits:
        """No more connections than leave descriptors for refusing others, and for everything else."""
        wanted, descriptors_max = socket_limits(self._config), limit()
        if descriptors_max is None:
            return wanted
        fitting = wanted.within(descriptors_max)
        if fitting.connections_max < wanted.connections_max:
            _log.warning(
                "the limit of open files allows fewer connections than limits.connections_max; raise ulimit -n",
                connections_max=fitting.connections_max,
                configured=wanted.connections_max,
                open_files_max=descriptors_max,
            )
        return fitting

    def renew_certificate(self) -> None:
        """Read certificate and key again now, and use them from the next connection on, if they can be used."""
        if self._certificates is not None:
            self._certificates.reload()

    async def stop(self) -> None:
        """Send clients away, let what is in flight commit, and let go of everything, each step in a bounded time."""
        if self._listener is not None:
            self._listener.leave_shared()
        await self.parts.stop(self._close_connections)
        await self._reach.close()
        self._lock.release()
        _log.info("stopped", node=self.gateway.node)

    async def _close_connections(self) -> None:
        """Both at once: the listener waits for connections that only the API's runner can end in time."""
        self._agent.stop()
        closing = [
            *([self._listener.stop()] if self._listener is not None else []),
            *([self._runner.cleanup()] if self._runner is not None else []),
        ]
        await asyncio.gather(*closing)

    def _tls(self) -> Callable[[], ssl.SSLContext] | None:
        """With which certificate to serve, asked anew at each connection."""
        held = self._certificates
        return None if held is None else lambda: held.current.server

    def _own_tls(self) -> ssl.SSLContext | None:
        """Whom to trust at the node's own port: the holder of its own key, under whatever address."""
        return None if self._certificates is None else self._certificates.current.own

    def _told_of_certificate(self, why: str) -> None:
        self.parts.events.record("certificate", self.gateway.node, why)

    def _canaries(self, name: str) -> Canaries:
        """They fly through the node's own port, with keys that nobody else knows."""
        parts, canary = self.parts, self._config.canary
        keeper = CanaryKeeper(
            name,
            parts.ports,
            parts.append,
            self._clock,
            address=self._own_address,
            tls=self._own_tls,
            grounded=lambda: parts.probes.draining,
            token_ttl_s=self._config.auth.token_ttl_s_max,
        )
        parts.verifier.admit(keeper.keys)
        flights = f"{name}.{self._clock.now_ms():x}"
        return Canaries(
            keeper, self._clock, flights, interval_s=canary.interval_s, timeout_s=canary.timeout_s
        )

    def _own_address(self) -> str:
        """Where this very process listens."""
        assert self._listener is not None
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(  # noqa: S104 - compared, not bound
            self._config.listen.host, self._config.listen.host
        )
        port = self._listener.direct_port or self._listener.port
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _build_api(self, keys: Credentials) -> web.Application:
        parts = self.parts
        api_keys = ApiKeys((app, digest) for app, own in keys.apps.items() for digest in own.api_key_hashes)
        service = NodeService(
            parts.ports.log,
            parts.commit,
            parts.publisher,
            parts.gateway,
            parts.probes,
            self._metrics_text,
            parts.balancing,
            Presence(parts.ports.routes, parts.membership.peers, parts.gateway.is_here),
        )
        context = Context(
            service=service,
            reader=parts.ports.log,
            issuer=TokenIssuer(keys.apps),
            settings=api_settings(self._config),
            clock=self._clock,
            new_id=lambda: secrets.token_urlsafe(16),
            cluster=ClusterOperator(
                parts.balancing, lambda: parts.membership.snapshot, parts.publisher.post, parts.events
            ),
        )
        operators = OperatorKeys(
            [api_key_hash(operator_key(keys.resume_secret)), *self._config.operator.key_hashes]
        )
        return build_api(context, ApiCredentials(parts.verifier, api_keys, operators), self._count_answer)

    def _count_answer(self, route: str, status: int) -> None:
        self.answers[route, status] += 1

    def _metrics_text(self) -> bytes:
        assert self._listener is not None
        if self._metrics is None:
            from posthouse.app.metrics import NodeMetrics  # not before somebody asks: start-up is counted

            self._metrics = NodeMetrics(
                self.parts, self._listener, self.answers, lambda: self._monitor.vitals, self.canaries
            )
            if self._certificates is not None:
                self._metrics.certificate_s = self._certificates.expires_in_s
        return self._metrics.text()


def _vouching(config: Config) -> ssl.SSLContext | None:
    """Who vouches for the other nodes."""
    try:
        return trusting(config.tls.ca) if config.tls.ca else None
    except NoAuthority as error:
        raise CertificateError(f"tls.ca: {error}") from None
