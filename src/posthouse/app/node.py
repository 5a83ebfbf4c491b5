"""One node, put together: a cluster of one on the embedded engines. Wiring only."""

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from posthouse.api.call import Context
from posthouse.api.credentials import Credentials as ApiCredentials
from posthouse.api.server import start as start_api
from posthouse.api.web import build_api
from posthouse.app.config.values import Config
from posthouse.app.databases import database as choose_database
from posthouse.app.lock import FolderLock
from posthouse.app.secrets import credentials
from posthouse.app.service import NodeService
from posthouse.app.settings import api_settings, commit_limits, gateway_limits, rates, socket_limits
from posthouse.auth.keys import ApiKeys
from posthouse.auth.resume import ResumeTokens
from posthouse.auth.tokens import TokenIssuer, TokenVerifier
from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.gateway.admission import Admission
from posthouse.gateway.gateway import Gateway
from posthouse.gateway.listener import Listener
from posthouse.health.probes import Probes
from posthouse.kit.clock import Clock, SystemClock
from posthouse.kit.log import logger
from posthouse.kit.tasks import Tasks, attempt
from posthouse.messaging.commit import GroupCommit
from posthouse.messaging.publish import Publisher
from posthouse.messaging.readers import Repair, Roster
from posthouse.messaging.receipts import Receipts
from posthouse.protocol.codes import Code

if TYPE_CHECKING:
    from posthouse.app.metrics import NodeMetrics

_log = logger(__name__)

STEP_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 30.0
"""How long each step of stopping may take; the last one is the database's, which must not be cut off in a commit."""
RETURN_WITHIN_MS = 2_000
"""Clients of a node that stops are told to come back spread over so long."""


class Node:
    """A server process: `start`, then clients are served on `port` until `stop`."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        """Nothing is opened yet. Raises `SecretsError` and `InvalidKey` for keys that cannot be used."""
        self._config = config
        self._clock = clock = clock or SystemClock()
        keys = credentials(config)
        name = config.node.name or f"{socket.gethostname()}-{config.listen.port}"
        verifier = TokenVerifier(keys.apps, ttl_s_max=config.auth.token_ttl_s_max)
        self._apps = tuple(keys.apps)
        self.database = choose_database(config, clock)
        self._bus, self._routes = MemoryBus(), MemoryRoutes()
        self._publisher = Publisher(self._bus, self._routes, [name])
        self.commit = GroupCommit(self.database, self._publisher, commit_limits(config))
        self._receipts = Receipts(self.database, self._publisher, clock)
        self._roster = Roster(self.database, self.commit.append, clock)
        self._repair = Repair(self.database, self._publisher, clock)
        self._probes = Probes({"main": self.database}, clock, name)
        self.commit.on_membership = self._roster.wake
        self.commit.on_message = self._receipts.sent
        self.gateway = Gateway(
            name,
            self.database,
            self.commit,
            self._receipts,
            self._routes,
            verifier,
            ResumeTokens(keys.resume_secret),
            Admission(rates(config), clock.monotonic()),
            clock,
            gateway_limits(config),
        )
        api_keys = ApiKeys((app, digest) for app, own in keys.apps.items() for digest in own.api_key_hashes)
        self.answers: Counter[tuple[str, int]] = Counter()
        self._api = self._build_api(TokenIssuer(keys.apps), ApiCredentials(verifier, api_keys))
        self._lock = FolderLock(Path(config.data.folder))
        self._tasks = Tasks(clock)
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self._metrics: NodeMetrics | None = None

    @property
    def port(self) -> int:
        """The port listened on, from `start` on."""
        return self._listener.port if self._listener is not None else 0

    async def start(self) -> None:
        """Open the database and listen. Raises `FolderInUse`, `StorageUnavailable` or `OSError`, saying what to do."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self._config
        self._lock.acquire()
        await self.database.open()
        await self.gateway.load_blocked(self._apps)
        await self._bus.subscribe(self.gateway.node, self.gateway.audience.deliver)
        await self._probes.probe()
        for name, loop in self._loops():
            self._tasks.supervise(name, loop)
        self._runner = await start_api(self._api)
        assert self._runner.server is not None
        self._listener = Listener(
            socket_limits(config),
            lambda opening, _request: self.gateway.accept(opening),
            self._runner.server,
            clock=self._clock,
            allowed_origins=config.listen.allowed_origins,
        )
        await self._listener.start(config.listen.host, config.listen.port)
        _log.info("listening", host=config.listen.host, port=self.port, node=self.gateway.node)

    async def stop(self) -> None:
        """Send clients away, let what is in flight commit, and close the database.

        Each step ends in a bounded time, and none that fails keeps the others from being taken.
        """
        self._probes.draining = True
        self.gateway.send_away(Code.NODE_STOPPING, "the node stops", RETURN_WITHIN_MS)
        await attempt("close connections", self._close_connections(), STEP_TIMEOUT_S)
        await attempt("commit what waits", self.commit.drained(), STEP_TIMEOUT_S)
        await attempt("write cursors", self._receipts.flush(), STEP_TIMEOUT_S)
        await attempt("end tasks", self._tasks.close(), STEP_TIMEOUT_S)
        await attempt("end the sessions' tasks", self.gateway.tasks.close(), STEP_TIMEOUT_S)
        await attempt("close the database", self.database.close(), CLOSE_TIMEOUT_S)
        self._lock.release()
        _log.info("stopped", node=self.gateway.node)

    async def _close_connections(self) -> None:
        """Both at once: the listener waits for connections that only the API's runner can end in time."""
        closing = [
            *([self._listener.stop()] if self._listener is not None else []),
            *([self._runner.cleanup()] if self._runner is not None else []),
        ]
        await asyncio.gather(*closing)

    def _loops(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        return [
            ("commit", self.commit.run),
            ("receipts", self._receipts.run),
            ("roster", self._roster.run),
            ("repair", self._repair.run),
            ("probes", self._probes.run),
            ("sweep", self.gateway.sweep),
        ]

    def _build_api(self, issuer: TokenIssuer, callers: ApiCredentials) -> web.Application:
        service = NodeService(
            self.database,
            self.commit,
            self._publisher,
            self.gateway,
            self._probes,
            self._metrics_text,
            self._config.listen.public_url,
        )
        context = Context(
            service=service,
            reader=self.database,
            issuer=issuer,
            settings=api_settings(self._config),
            clock=self._clock,
            new_id=lambda: secrets.token_urlsafe(16),
        )
        return build_api(context, callers, self._count_answer)

    def _count_answer(self, route: str, status: int) -> None:
        self.answers[route, status] += 1

    def _metrics_text(self) -> bytes:
        assert self._listener is not None
        if self._metrics is None:
            from posthouse.app.metrics import NodeMetrics  # not before somebody asks: start-up is counted

            self._metrics = NodeMetrics(
                self.gateway,
                self._listener,
                self.commit,
                self._receipts,
                self._publisher,
                self._roster,
                self._repair,
                self._probes,
                self.answers,
                (self._tasks, self.gateway.tasks),
            )
        return self._metrics.text()
