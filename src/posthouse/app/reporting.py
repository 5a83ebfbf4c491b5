"""What this node says of itself each second: load, health, and where it is reached."""

from collections.abc import Callable

from posthouse import __version__
from posthouse.app.addresses import api_url, clients_url
from posthouse.app.config.values import Config
from posthouse.balance.report import LoadReport
from posthouse.cluster.snapshot import NodeReport
from posthouse.health.probes import Probes
from posthouse.health.vitals import Vitals
from posthouse.kit.address import outward_address_of
from posthouse.kit.clock import Clock


class Counts:
    """Where the counters of this node's work are read. Replaced by whoever builds the node."""

    connections: Callable[[], int] = staticmethod(lambda: 0)
    deliveries: Callable[[], int] = staticmethod(lambda: 0)
    errors: Callable[[], int] = staticmethod(lambda: 0)
    in_flight: Callable[[], int] = staticmethod(lambda: 0)
    latency_ms: Callable[[], float] = staticmethod(lambda: 0.0)


class Reporter:
    """Asked once a second by the membership. `port`, `agent_port` and `serving` are set once the node listens.

    `outward` finds the machine's own address. It is asked each time: a machine may get another one.
    """

    outward: Callable[[str], str] = staticmethod(outward_address_of)

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
        api = api_url(self._config, self.port, self.outward)
        return NodeReport(
            node=self._node,
            incarnation=0,
            version=__version__,
            started_ms=self._started_ms,
            clients_url=clients_url(self._config, api),
            api_url=api,
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
