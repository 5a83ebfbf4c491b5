"""Records as commands write them, for the page to show."""

from pathlib import Path
from typing import Any

from posthouse.kit.clock import ManualClock
from posthouse.testing.records import Recorder

KEYS = {"sim": "first", "mutants": "name", "chaos": "scenario", "soak": "database", "bench": "benchmark"}


def record(folder: Path, kind: str, *rows: dict[str, Any], at_ms: int = 0, **options: object) -> None:
    """One run of a kind, with these rows."""
    recorder = Recorder(folder / f"{kind}.json", KEYS[kind], options, clock=ManualClock(at_ms))
    for row in rows:
        recorder.put(row)


def simulated(**other: Any) -> dict[str, Any]:
    counts = {"sends": 2_400_000, "acked": 2_399_000, "deliveries": 9_000_000, "faults": 60_000}
    return {"first": 0, "seeds": 10_000, **counts, "virtual_s": 720_000, "failed_seeds": []} | other


def broken(scenario: str, **other: Any) -> dict[str, Any]:
    counts = {"runs": 3, "acked": 12_345, "lost": 0, "duplicated": 0, "reordered": 0}
    times = {"pause_p50_s": 0.21, "pause_p99_s": 0.9, "pause_max_s": 1.44, "budget_s": 2.0}
    row = {"scenario": scenario, "reason": "", **counts, **times, "breaches": [], "verdict": "pass"}
    return row | other


def measured(benchmark: str, value: float = 1.2, *, reached: bool = True, **broken: int) -> dict[str, Any]:
    limit = {"figure": "ratio_to_raw", "value": value, "how": "at most", "limit": 1.3, "reached": reached}
    return {"benchmark": benchmark, "figures": {"ratio_to_raw": value}, "limits": [limit], "broken": broken}


def soaked(**other: Any) -> dict[str, Any]:
    counts = {"acked": 200_000, "deliveries": 2_000_000, "lost": 0, "duplicated": 0, "reordered": 0}
    row = {"database": "postgresql", "nodes": 2, "minutes": 60.0, "per_s": 60.0, **counts, "overflows": 7}
    return row | {"verdict": "pass"} | other
