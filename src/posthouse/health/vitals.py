"""How loaded a process is, from two readings of its counters. Pure.

Every share is of the node's own limits: 1.0 is all it may use.
"""

from math import ceil
from typing import NamedTuple

import msgspec

LAG_QUANTILE = 0.99


class Reading(NamedTuple):
    """Counters at one moment, `at` on a monotonic clock. `loop_cpu_s` is the event loop's thread alone."""

    at: float
    cpu_s: float
    loop_cpu_s: float
    throttled_s: float
    resident_bytes: int
    received_bytes: int
    sent_bytes: int
    descriptors: int
    tasks: int


class Allowance(NamedTuple):
    """What the process may use. `held_share` is the share of the memory that is taken already, by whomever."""

    cores: float
    memory_bytes: int
    held_share: float
    descriptors: int
    network_bytes_per_s: float


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """One second of a node's life. `cpu`, `memory`, `network`, `descriptors_share`, `throttled` are shares, 0..1."""

    cpu: float = 0.0
    memory: float = 0.0
    network: float = 0.0
    descriptors_share: float = 0.0
    throttled: float = 0.0
    loop_lag_ms: float = 0.0
    """The 99th percentile over the second."""
    loop_lag_max_ms: float = 0.0
    resident_bytes: int = 0
    descriptors: int = 0
    received_bytes_per_s: float = 0.0
    sent_bytes_per_s: float = 0.0
    tasks: int = 0


def vitals(before: Reading, after: Reading, allowed: Allowance, lags_ms: list[float]) -> Vitals:
    """What happened between two readings."""
    seconds = max(after.at - before.at, 1e-3)
    received = max(0, after.received_bytes - before.received_bytes) / seconds
    sent = max(0, after.sent_bytes - before.sent_bytes) / seconds
    return Vitals(
        cpu=_cpu(before, after, allowed.cores, seconds),
        memory=min(1.0, max(after.resident_bytes / allowed.memory_bytes, allowed.held_share)),
        network=max(received, sent) / allowed.network_bytes_per_s if allowed.network_bytes_per_s else 0.0,
        descriptors_share=after.descriptors / allowed.descriptors if allowed.descriptors else 0.0,
        throttled=min(1.0, max(0.0, after.throttled_s - before.throttled_s) / seconds),
        loop_lag_ms=quantile(lags_ms, LAG_QUANTILE),
        loop_lag_max_ms=max(lags_ms, default=0.0),
        resident_bytes=after.resident_bytes,
        descriptors=after.descriptors,
        received_bytes_per_s=received,
        sent_bytes_per_s=sent,
        tasks=after.tasks,
    )


def quantile(values: list[float], share: float) -> float:
    """The nearest rank; 0.0 of nothing."""
    return sorted(values)[ceil(len(values) * share) - 1] if values else 0.0


def _cpu(before: Reading, after: Reading, cores: float, seconds: float) -> float:
    """The scarcer of two: the process's time on all its cores, and the one core that its event loop can use."""
    process = (after.cpu_s - before.cpu_s) / seconds / cores
    loop = (after.loop_cpu_s - before.loop_cpu_s) / seconds
    return max(0.0, process, loop / min(1.0, cores))
