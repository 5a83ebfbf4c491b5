"""Every policy in every scenario, and rebalancing, medians over seeds: `python -m bench.balance [--help]`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from statistics import median

from bench.balance import moving, requests, sessions
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

EVEN = (1.0,) * 8
MOVING = {
    "one joins three": moving.Scenario((1000, 1000, 1000, 0), EVEN[:4]),
    "of 300 clients": moving.Scenario((100, 100, 100, 0), EVEN[:4]),
    "two join six": moving.Scenario((200,) * 6 + (0, 0), EVEN, joining=2),
    "one joins one": moving.Scenario((300, 0), EVEN[:2]),
    "a large one joins": moving.Scenario((300, 300, 300, 0), (1.0, 1.0, 1.0, 2.0)),
    "sessions of 2 minutes": moving.Scenario((1000, 1000, 1000, 0), EVEN[:4], lifetime_s=120.0),
    "nobody is moved": moving.Scenario((1000, 1000, 1000, 0), EVEN[:4], rule=None),
}
MOVING_S = 121

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


def moving_row(scenario: str, seeds: int) -> Row:
    """Medians over seeds: the spread after 60 and 120 s, when it is within 1.1, and what it cost."""
    outcomes = [moving.Simulation(MOVING[scenario], seed).run(MOVING_S) for seed in range(seeds)]
    settled = [moving.settled_s(each.spread, 1.1) for each in outcomes]
    return {
        "simulation": "moving",
        "scenario": scenario,
        "spread_60_s": round(median(each.spread[60] for each in outcomes), 2),
        "spread_120_s": round(median(each.spread[120] for each in outcomes), 2),
        "settled_s": median(settled),
        "moved_percent": round(100 * median(each.moved for each in outcomes), 1),
        "moves_of_one_max": max(each.moves_of_one_max for each in outcomes),
        "arrivals_per_s_max": median(each.arrivals_per_s_max for each in outcomes),
    }


def moving_table(found: Sequence[Row]) -> str:
    """The rows as Markdown, a scenario a line."""
    heads = ["scenario", "after 60 s", "after 120 s", "within 1.1", "moved", "moves of one", "arrivals/s"]
    lines = [heads, ["---", *("---:" for _ in heads[1:])]]
    for row in found:
        settled = f"{row['settled_s']:.0f} s" if row["settled_s"] < MOVING_S else "never"  # type: ignore[operator]
        lines.append(
            [
                str(row["scenario"]),
                f"{row['spread_60_s']:.2f}",
                f"{row['spread_120_s']:.2f}",
                settled,
                f"{row['moved_percent']:.0f} %",
                f"{row['moves_of_one_max']:.0f}",
                f"{row['arrivals_per_s_max']:.0f}",
            ]
        )
    title = "Rebalancing: the fullest node over the mean after nodes have joined, and how many sessions were moved"
    return "\n".join([title, "", *(f"| {' | '.join(line)} |" for line in lines)])


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
    parser.add_argument("--moving", action="store_true", help="only rebalancing")
    chosen = parser.parse_args()
    policies = chosen.policy or NAMES
    found = [] if chosen.moving else rows(policies, chosen.seeds)
    moved = [moving_row(scenario, chosen.seeds) for scenario in MOVING]
    parts = [*([tables(found)] if found else []), moving_table(moved)]
    text = json.dumps(found + moved, indent=1) if chosen.json else "\n\n".join(parts)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
