"""Every policy in every scenario, medians over seeds: `python -m bench.balance [--json] [--seeds N] [--policy P]`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from statistics import median

from bench.balance import requests, sessions
from bench.balance.requests import FAULT_AT_S, Kind
from bench.balance.sessions import STEADY_AT_S, Gateway
from posthouse.balance.guards import EjectionRule, Guards
from posthouse.balance.named import NAMES

FOUR = (Kind(),) * 4
FIVE = (Kind(),) * 5
SKEWED = (Kind(), Kind(), Kind(speed=0.4), Kind(speed=0.5, weight=0.5))
JOINING = (Kind(), Kind(), Kind(), Kind(joins_at_s=FAULT_AT_S, warm_up_s=20.0))
NO_EJECTION = Guards(ejection=EjectionRule(targets_min=1000))
NO_SLOW_START = Guards(slow_start_s=0.0)

REQUESTS = {
    "even": requests.Scenario(FOUR, 0.9, seconds=120.0),
    "probed": requests.Scenario(FOUR, 0.75, balancers=30, probes=2, neighbour_every_s=5.0, seconds=120.0),
    "unprobed": requests.Scenario(FOUR, 0.75, balancers=30, neighbour_every_s=5.0, seconds=120.0),
    "skewed": requests.Scenario(SKEWED, 0.7),
    "failing": requests.Scenario(FIVE, 0.7, first_fails=True),
    "failing, no ejection": requests.Scenario(FIVE, 0.7, first_fails=True, guards=NO_EJECTION),
    "joining": requests.Scenario(JOINING, 0.75),
    "joining, no slow start": requests.Scenario(JOINING, 0.75, guards=NO_SLOW_START),
}

THREE = (Gateway("a"), Gateway("b"), Gateway("c"))
SESSIONS = {
    "half-sized": sessions.Scenario((*THREE, Gateway("d", size=0.5, weight=0.5))),
    "slow": sessions.Scenario((*THREE, Gateway("d", size=0.5))),
    "slow, by utilisation": sessions.Scenario((*THREE, Gateway("d", size=0.5)), by="utilisation"),
    "joined": sessions.Scenario((*THREE, Gateway("d", since=STEADY_AT_S)), STEADY_AT_S + 120),
    "died": sessions.Scenario((*THREE, Gateway("d", until=STEADY_AT_S + 1)), STEADY_AT_S + 10),
}

Row = dict[str, str | float]


def request_row(scenario: str, policy: str, seeds: int) -> Row:
    """Medians over seeds of p50 and p99 in milliseconds, and of the errors in percent."""
    outcomes = [requests.Simulation(REQUESTS[scenario], policy, seed).run() for seed in range(seeds)]
    return {
        "simulation": "requests",
        "scenario": scenario,
        "policy": policy,
        "p50_ms": round(median(percentile(each.latencies_ms, 0.5) for each in outcomes), 1),
        "p99_ms": round(median(percentile(each.latencies_ms, 0.99) for each in outcomes), 1),
        "errors_percent": round(median(100 * each.errors / each.requests for each in outcomes), 2),
    }


def session_row(scenario: str, policy: str, by: str, seeds: int) -> Row:
    """Medians over seeds of the spread (fullest over mean) and of the most arrivals a second at one gateway."""
    runs = (sessions.Simulation(SESSIONS[scenario], policy, by == "rank", seed) for seed in range(seeds))
    outcomes = [run.run() for run in runs]
    return {
        "simulation": "sessions",
        "scenario": scenario,
        "policy": policy,
        "by": by,
        "spread": round(median(each.spread for each in outcomes), 2),
        "peak_per_s": median(each.peak_per_s for each in outcomes),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all do not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def rows(policies: Sequence[str], seeds: int) -> list[Row]:
    """Every scenario with every policy."""
    return [
        *(request_row(scenario, policy, seeds) for scenario in REQUESTS for policy in policies),
        *(
            session_row(scenario, policy, by, seeds)
            for scenario in SESSIONS
            for by in ("choose", "rank")
            for policy in policies
        ),
    ]


def tables(found: Sequence[Row]) -> str:
    """The rows as Markdown, a policy a line and a scenario a column."""
    names = list(REQUESTS)
    half = len(names) // 2
    chosen = {(row["scenario"], row["policy"], row.get("by", "")): row for row in found}
    policies = list(dict.fromkeys(str(row["policy"]) for row in found))

    def requests_cell(scenario: str, policy: str) -> str:
        row = chosen[scenario, policy, ""]
        errors = f"{row['errors_percent']:.1f} %"
        latencies = f"{row['p50_ms']:.0f} / {row['p99_ms']:.0f}"
        return latencies if errors == "0.0 %" else f"{latencies}, {errors}"

    def sessions_cell(scenario: str, policy: str) -> str:
        told, drawn = chosen[scenario, policy, "choose"], chosen[scenario, policy, "rank"]
        return f"{told['spread']:.2f} / {drawn['spread']:.2f}"

    return "\n\n".join(
        [
            "Requests: p50 / p99 in ms of good answers, and errors",
            _grid(names[:half], policies, requests_cell),
            _grid(names[half:], policies, requests_cell),
            "Sessions: the fullest gateway over the mean, when told one gateway / when drawn from a ranking",
            _grid(list(SESSIONS), policies, sessions_cell),
        ]
    )


def _grid(scenarios: Sequence[str], policies: Sequence[str], cell: Callable[[str, str], str]) -> str:
    lines = [["policy", *scenarios], ["---", *("---:" for _ in scenarios)]]
    lines += [[policy, *(cell(scenario, policy) for scenario in scenarios)] for policy in policies]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.balance", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each cell; the median counts")
    parser.add_argument("--policy", action="append", choices=NAMES, help="only this one; may be repeated")
    chosen = parser.parse_args()
    policies = chosen.policy or NAMES
    found = rows(policies, chosen.seeds)
    text = json.dumps(found, indent=1) if chosen.json else tables(found)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
