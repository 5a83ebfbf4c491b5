"""The node's counters as Prometheus metrics. Rooms count in plain integers; they are read when somebody asks."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from posthouse.app.parts import Parts
from posthouse.app.standing import standing
from posthouse.cluster.snapshot import Presence
from posthouse.gateway.listener import Listener
from posthouse.health.canary import Canaries
from posthouse.health.vitals import Vitals
from posthouse.protocol.codes import Code


class NodeMetrics(Collector):
    """Reads the counters of one node's parts."""

    def __init__(
        self,
        parts: Parts,
        listener: Listener,
        answers: Mapping[tuple[str, int], int],
        vitals: Callable[[], Vitals],
        canaries: Canaries,
    ) -> None:
        self._parts = parts
        self._vitals = vitals
        self._canaries = canaries
        self._gateway = parts.gateway
        self._listener = listener
        self._answers = answers
        self.certificate_s: Callable[[], float] | None = None
        """How long the node's certificate is still good for; None where it has none."""
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What a scrape sees."""
        for name, help_text, value in self._gauges():
            yield GaugeMetricFamily(f"posthouse_{name}", help_text, value)
        for name, help_text, value in self._counters():
            yield CounterMetricFamily(f"posthouse_{name}", help_text, value)
        codes = CounterMetricFamily(
            "posthouse_codes", "Refusals and ends of sessions by code", labels=["code", "name"]
        )
        for code, count in self._gateway.codes.items():
            codes.add_metric([str(code), Code(code).name.lower()], count)
        yield codes
        sockets = CounterMetricFamily("posthouse_listener", "What happened to connections", labels=["event"])
        for event, count in self._listener.statistics().items():
            sockets.add_metric([event], count)
        yield sockets
        answers = CounterMetricFamily("posthouse_api", "Answers of the REST API", labels=["route", "status"])
        for (route, status), count in self._answers.items():
            answers.add_metric([route, str(status)], count)
        yield answers
        yield self._verdicts()
        yield from standing(self._parts.ports)

    def _verdicts(self) -> Metric:
        found = GaugeMetricFamily(
            "posthouse_verdict", "1 for what this node thinks of what it probes", labels=["subject", "state"]
        )
        for subject, verdict in self._parts.probes.verdicts().items():
            found.add_metric([subject, verdict.state], 1)
        return found

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        parts, readers = self._parts, self._parts.readers.values()
        yield "ready", "1 when this node should get traffic", parts.probes.readiness().ready
        birds = self._canaries.sessions
        if self.certificate_s is not None:
            yield "certificate_expires_seconds", "Until the certificate expires", self.certificate_s()
        yield "connections", "Open WebSocket connections of clients", len(self._gateway.connections) - birds
        yield "sessions", "Live sessions of clients", len(self._gateway.sessions) - birds
        yield "rooms", "Logs that somebody here follows", len(self._gateway.audience.rooms)
        yield (
            "sends_waiting",
            "Sends that wait for the database",
            sum(each.commit.waiting for each in readers),
        )
        yield "hints_trusted", "1 when the bus and the routes can be relied on", parts.hearing.trusted
        yield (
            "polling",
            "Databases whose feed is asked by this node itself",
            sum(each.poller.active for each in readers),
        )
        nodes = parts.membership.snapshot
        yield "nodes_known", "1 when the register of nodes was read", nodes.known
        owed = sum(each.roster.owed for each in readers)
        yield "roster_owed", "Account entries that wait for a database that is away", owed
        live = sum(view.presence is Presence.LIVE for view in nodes.nodes)
        yield "nodes_live", "Nodes that announce themselves", live
        running = sum(each.repair_turn.running + each.roster_turn.running for each in readers)
        yield "singletons_running", "Loops that run on one node at a time, on this one", running
        yield from self._health()

    def _health(self) -> Iterator[tuple[str, str, float]]:
        now, probes = self._vitals(), self._parts.probes
        yield "degraded", "1 when the node is ready although something is wrong", probes.readiness().degraded
        yield "distrust", "How much this node doubts its own verdicts on others", probes.detector.distrust
        yield "cpu_share", "Of the processor time that the node may use, in the last second", now.cpu
        yield "memory_share", "Of the memory that the node may use", now.memory
        yield "network_share", "Of the network's bandwidth, where that is known", now.network
        yield "descriptors_share", "Of the files that the process may open", now.descriptors_share
        yield (
            "throttled_share",
            "Of the last second, in which the container's quota let nothing run",
            now.throttled,
        )
        yield "loop_lag_p99_seconds", "How late the event loop was in the last second", now.loop_lag_ms / 1000
        yield "loop_lag_max_seconds", "The worst of the last second", now.loop_lag_max_ms / 1000
        yield (
            "network_received_bytes_per_second",
            "Of the whole machine or container",
            now.received_bytes_per_s,
        )
        yield "network_sent_bytes_per_second", "Of the whole machine or container", now.sent_bytes_per_s
        yield "tasks", "Background tasks", now.tasks
        flown_ms = self._canaries.statistics()["delivered_ms"]
        yield "canary_delivered_seconds", "What the last canary took from send to push", flown_ms / 1000
        shedding = self._gateway.admission.shed_s > 0
        yield "shedding", "1 while new sessions are refused because the node is overloaded", shedding

    def _counters(self) -> Iterator[tuple[str, str, float]]:
        yield from self._work()
        yield from self._clients()
        yield from self._cluster()
        flights = self._canaries.statistics()
        yield "canary_flights", "Messages sent along the real path by this node itself", flights["flights"]
        yield "canary_failures", "Those of them that were not delivered", flights["failures"]
        attendant = self._parts.tending.attendant
        yield "remedies", "Remedies applied by this node to itself", attendant.applied
        yield "remedies_withheld", "Seconds that a remedy waited for its turn", attendant.withheld

    def _work(self) -> Iterator[tuple[str, str, float]]:
        readers = self._parts.readers.values()
        yield "commits", "Transactions of sends", sum(each.commit.batches for each in readers)
        yield "commit_entries", "Sends that were committed", sum(each.commit.committed for each in readers)
        busy = sum(each.commit.refused_busy for each in readers)
        yield "commit_busy", "Sends refused because the queue was full", busy
        yield "cursors_written", "Cursors made durable", self._parts.receipts.written
        yield (
            "roster_applied",
            "Account entries made from memberships",
            sum(each.roster.applied for each in readers),
        )
        refused = sum(each.roster.refused for each in readers)
        yield "roster_refused", "Account entries that can never be made", refused
        yield "repair_told", "Heads told by the repair reader", sum(each.repair.told for each in readers)
        crashes = self._parts.tasks.crashes + self._gateway.tasks.crashes
        yield "task_crashes", "Background tasks that crashed", crashes

    def _clients(self) -> Iterator[tuple[str, str, float]]:
        audience, entrance = self._gateway.audience, self._gateway.entrance
        yield "deliveries", "Entries written to sessions", audience.deliveries
        yield "gaps", "Times that a room read the log because a hint was lost", audience.gaps
        loads = audience.inboxes.loads + audience.memberships.loads + audience.heads.loads
        yield "loads", "Batched queries for sessions that enter", loads
        yield "entered", "Sessions let in", entrance.entered
        yield "resumed", "Sessions that resumed", entrance.resumed

    def _cluster(self) -> Iterator[tuple[str, str, float]]:
        readers, publisher = self._parts.readers.values(), self._parts.publisher
        yield "bus_messages", "Messages to other gateways", publisher.published
        unreadable = self._gateway.notes.unreadable
        yield "bus_unreadable", "Messages from the bus that no node can have sent", unreadable
        yield "bus_lost", "Notes that the bus did not take, or that waited too long", publisher.lost
        yield (
            "repair_retold",
            "Heads told again to gateways that had not taken them",
            sum(each.repair.retold for each in readers),
        )
        yield "outages", "Times that hints could not be relied on", self._parts.hearing.outages
        yield (
            "poll_rounds",
            "Times that this node asked a feed itself",
            sum(each.poller.rounds for each in readers),
        )
        yield (
            "events_unshared",
            "Events that stayed with their node because there were too many",
            self._parts.events.unshared,
        )
