"""What stands behind a node, as Prometheus metrics: databases and their hosts, the servers of cache and bus."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from posthouse.app.ports import Ports

LEVELS = ("servers", "servers_up")
"""Of what cache and bus count, what may fall again."""


def standing(ports: Ports) -> Iterator[Metric]:
    """Read when somebody asks. Engines without counters have none."""
    events = CounterMetricFamily(
        "posthouse_database", "What happened between this node and a database", labels=["database", "event"]
    )
    lags = GaugeMetricFamily(
        "posthouse_database_lag_seconds", "How far a replica is behind", labels=["database", "host", "role"]
    )
    for name, database in ports.databases.items():
        counted: Mapping[str, int] = getattr(database, "statistics", dict)()
        for event, count in counted.items():
            events.add_metric([name, event], count)
        hosts: tuple[Any, ...] = getattr(database, "hosts", tuple)()
        for host in hosts:
            lags.add_metric([name, host.host.name, host.role], host.lag_s or 0.0)
    yield events
    yield lags
    yield from _servers(ports)


def _servers(ports: Ports) -> Iterator[Metric]:
    levels = GaugeMetricFamily(
        "posthouse_servers",
        "Servers behind the cache and the bus, and those that answer",
        labels=["of", "what"],
    )
    events = CounterMetricFamily(
        "posthouse_servers_events", "What happened between this node and them", labels=["of", "event"]
    )
    for kind, statistics in ports.statistics.items():
        for what, count in statistics().items():
            (levels if what in LEVELS else events).add_metric([kind, what], count)
    yield levels
    yield events
