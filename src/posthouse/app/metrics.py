"""The node's counters as Prometheus metrics. Rooms count in plain integers; they are read when somebody asks."""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from posthouse.gateway.gateway import Gateway
from posthouse.gateway.listener import Listener
from posthouse.health.probes import Probes
from posthouse.kit.tasks import Tasks
from posthouse.messaging.commit import GroupCommit
from posthouse.messaging.publish import Publisher
from posthouse.messaging.readers import Repair, Roster
from posthouse.messaging.receipts import Receipts
from posthouse.protocol.codes import Code


class NodeMetrics(Collector):
    """Reads the counters of one node's parts."""

    def __init__(
        self,
        gateway: Gateway,
        listener: Listener,
        commit: GroupCommit,
        receipts: Receipts,
        publisher: Publisher,
        roster: Roster,
        repair: Repair,
        probes: Probes,
        answers: Mapping[tuple[str, int], int],
        tasks: Sequence[Tasks],
    ) -> None:
        self._gateway = gateway
        self._listener = listener
        self._commit = commit
        self._receipts = receipts
        self._publisher = publisher
        self._roster = roster
        self._repair = repair
        self._probes = probes
        self._answers = answers
        self._tasks = tasks
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

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        yield "ready", "1 when this node should get traffic", self._probes.readiness().ready
        yield "connections", "Open WebSocket connections", len(self._gateway.connections)
        yield "sessions", "Live sessions", len(self._gateway.sessions)
        yield "rooms", "Logs that somebody here follows", len(self._gateway.audience.rooms)
        yield "sends_waiting", "Sends that wait for the database", self._commit.waiting

    def _counters(self) -> Iterator[tuple[str, str, float]]:
        audience, entrance = self._gateway.audience, self._gateway.entrance
        yield "commits", "Transactions of sends", self._commit.batches
        yield "commit_entries", "Sends that were committed", self._commit.committed
        yield "commit_busy", "Sends refused because the queue was full", self._commit.refused_busy
        yield "deliveries", "Entries written to sessions", audience.deliveries
        yield "gaps", "Times that a room read the log because a hint was lost", audience.gaps
        yield (
            "loads",
            "Batched queries for sessions that enter",
            audience.inboxes.loads + audience.heads.loads,
        )
        yield "entered", "Sessions let in", entrance.entered
        yield "resumed", "Sessions that resumed", entrance.resumed
        yield "cursors_written", "Cursors made durable", self._receipts.written
        yield "bus_messages", "Messages to gateways", self._publisher.published
        yield "bus_lost", "Notes that the bus did not take", self._publisher.lost
        yield "roster_applied", "Account entries made from memberships", self._roster.applied
        yield "repair_told", "Heads told by the repair reader", self._repair.told
        yield "roster_refused", "Account entries that can never be made", self._roster.refused
        crashes = sum(tasks.crashes for tasks in self._tasks)
        yield "task_crashes", "Background tasks that crashed", crashes
