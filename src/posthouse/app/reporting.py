"""What this node says of itself each second: load, health, and where it is reached."""

from collections.abc import Callable

from posthouse import __version__
from posthouse.app.config.values import Config
from posthouse.balance.report import LoadReport
from posthouse.cluster.snapshot import NodeReport
from posthouse.health.probes import Probes
from posthouse.health.vitals import Vitals
from posthouse.kit.clock import Clock


class Counts:
    """Where the counters of this node's work are read. Replaced by whoever builds the node."""

    connections: Callable[[], int] = staticmethod(lambda: 0)
    deliveries: Callable[[], int] = staticmethod(lambda: 0)
    errors: Callable[[], int] = staticmethod(lambda: 0)
    in_flight: Callable[[], int] = staticmethod(lambda: 0)
    latency_ms: Callable[[], float] = staticmethod(lambda: 0.0)


class Reporter:
    """Asked once a second by the membership. `port`, `agent_port` and `serving` are set once the node listens."""

    def __init__(
        self, config: Config, node: str, probes: Probes, vitals: Callable[[], Vitals], clock: Clock
    ) -> None:
        self.port = self.agent_port = 0
        self.serving = False
        self.fenced = ""
        self.counts = Counts()
        self._config = config
        self._node = node
        self._probes = probes
        self._vitals = vitals
        self._clock = clock
        self._started_ms = clock.now_ms()
        self._last = clock.monotonic(), 0, 0

    def report(self) -> NodeReport:
        """What is true now. Name, incarnation and time served are the membership's to say."""
        readiness = self._probes.readiness()
        ready = readiness.ready and self.serving and not self.fenced
        reason = readiness.reason if self.serving else "the node does not listen yet"
        return NodeReport(
            node=self._node,
            incarnation=0,
            version=__version__,
            started_ms=self._started_ms,
            clients_url=self._url().replace("http", "ws", 1),
            api_url=self._url(),
            zone=self._config.node.zone,
            agent_port=self.agent_port,
            load=self._load(),
            ready=ready,
            reason=self.fenced or reason,
            draining=self._probes.draining or bool(self.fenced),
            health=self._probes.report(),
        )

    def _load(self) -> LoadReport:
        vitals, counts = self._vitals(), self.counts
        now, deliveries, errors = self._clock.monotonic(), counts.deliveries(), counts.errors()
        before, self._last = self._last, (now, deliveries, errors)
        seconds = max(now - before[0], 1e-3)
        return LoadReport(
            self._node,
            connections=counts.connections(),
            deliveries_per_s=max(0, deliveries - before[1]) / seconds,
            errors_per_s=max(0, errors - before[2]) / seconds,
            cpu=vitals.cpu,
            memory=vitals.memory,
            network=vitals.network,
            loop_lag_ms=vitals.loop_lag_ms,
            in_flight=counts.in_flight(),
            latency_ms=counts.latency_ms(),
            draining=self._probes.draining,
            weight=self._config.node.weight,
        )

    def _url(self) -> str:
        """As configured, or where this node listens. A host that stands for all addresses is nobody's address."""
        listen = self._config.listen
        if listen.public_url:
            return listen.public_url.rstrip("/")
        if not self.port or not listen.host.strip("0.:"):
            return ""
        host = f"[{listen.host}]" if ":" in listen.host else listen.host
        return f"http{'s' if self._config.tls.certificate else ''}://{host}:{self.port}"
