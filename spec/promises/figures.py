"""The figures of docs/guarantees.md: what the simulation, the missing safeguards, chaos and soak have shown."""

from collections import Counter
from collections.abc import Iterator, Sequence

from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.testing.mutation.safeguards import SAFEGUARDS
from spec.promises import benchmarks
from spec.promises.making import NOT_RUN, made
from spec.promises.recorded import Broken, Proof, Simulated, Soaked, rows
from spec.promises.tables import table

SEEDS = 10_000
MINUTES = 60
"""What `make proof` plays, and for how long it lets people talk on a cluster. Less is told as a part of it."""
FAILED_SEEDS_SHOWN_MAX = 10
_SIMULATED = ("seeds", "sends", "acknowledged", "deliveries", "faults", "virtual hours", "failed seeds")
_SOAKED = (
    "database", "verdict", "nodes", "minutes", "messages a second", "acknowledged", "deliveries", "lost", "duplicated",
    "reordered", "slow readers disconnected",
)  # fmt: skip
_BROKEN = (
    "scenario", "verdict", "runs", "acknowledged", "lost", "duplicated", "reordered", "pause p50", "p99", "budget",
    "max",
)  # fmt: skip


def last_runs(proof: Proof) -> str:
    """What holds for all promises together."""
    parts = (
        "## The last runs",
        *_simulation(proof),
        *_mutants(proof),
        *_chaos(proof),
        *_soak(proof),
        *benchmarks.chapter(proof.bench),
    )
    return "\n\n".join(part for part in parts if part)


def _simulation(proof: Proof) -> Iterator[str]:
    yield "### The simulation"
    yield "Whole clusters with their clients in virtual time, each under a seed, while faults happen (`posthouse sim`)."
    played = rows(proof.sim)
    if not played:
        yield NOT_RUN
        return
    yield table(_SIMULATED, [_simulated(each) for each in played], right=0)
    if sum(each.seeds for each in played) < SEEDS:
        yield f"This is a part: `make proof` plays {SEEDS:,} seeds."
    yield made(proof.sim, _span)


def _simulated(row: Simulated) -> list[str]:
    counts = (row.sends, row.acked, row.deliveries, row.faults)
    failed = ", ".join(map(str, row.failed_seeds[:FAILED_SEEDS_SHOWN_MAX]))
    return [
        f"{row.seeds:,} ({_span(row)})",
        *(f"{count:,}" for count in counts),
        f"{row.virtual_s / 3600:,.1f}",
        f"**{len(row.failed_seeds):,}**: {failed}" if failed else "0",
    ]


def _span(row: Simulated) -> str:
    return f"{row.first} to {row.first + row.seeds - 1}"


def _mutants(proof: Proof) -> Iterator[str]:
    yield "### Safeguards taken out"
    names = [each.name for each in SAFEGUARDS]
    found = {each.name: each.caught_by for each in rows(proof.mutants) if each.name in names}
    if not found:
        yield NOT_RUN
        return
    noticed = sum(map(bool, found.values()))
    text = f"{noticed} of {len(names)} were noticed, {len(found) - noticed} were not"
    yield f"{text}, {len(names) - len(found)} were not run."
    yield made(proof.mutants, lambda row: row.name)


def _chaos(proof: Proof) -> Iterator[str]:
    yield "### Chaos"
    yield (
        "A real cluster is broken while clients talk ([chaos.md](chaos.md)). Scenarios stand under their promises;\n"
        "p99 of the pauses is that of the worst run."
    )
    found = [each for each in rows(proof.chaos) if each.scenario in SCENARIOS]
    if not found:
        yield NOT_RUN
        return
    yield f"{_held(found)} {_counted(found)} [The page with charts of the last run](proof/chaos.html)."
    yield made(proof.chaos, lambda row: row.scenario)


def _held(found: Sequence[Broken]) -> str:
    verdicts = Counter(each.verdict for each in found)
    return (
        f"{verdicts['pass']} of {len(SCENARIOS)} scenarios held, {verdicts['fail']} did not, "
        f"{verdicts['skipped']} were skipped, {len(SCENARIOS) - len(found)} were not run."
    )


def _counted(found: Sequence[Broken]) -> str:
    acked, lost = sum(each.acked for each in found), sum(each.lost for each in found)
    duplicated, reordered = sum(each.duplicated for each in found), sum(each.reordered for each in found)
    return f"{acked:,} sends were acknowledged: {lost} lost, {duplicated} duplicated, {reordered} reordered."


def _soak(proof: Proof) -> Iterator[str]:
    yield "### Soak"
    yield "People talk on real nodes, and nothing that these hold may grow ([soak.md](soak.md))."
    found = rows(proof.soak)
    if not found:
        yield NOT_RUN
        return
    yield table(_SOAKED, [_soaked(each) for each in found], right=2)
    if not any(each.database == "postgresql" and each.minutes >= MINUTES for each in found):
        yield f"This is a part: `make proof` lets people talk for {MINUTES} minutes on a cluster."
    yield made(proof.soak, lambda row: row.database)


def _soaked(row: Soaked) -> list[str]:
    counts = (row.acked, row.deliveries, row.lost, row.duplicated, row.reordered, row.overflows)
    facts = (f"{row.nodes}", f"{row.minutes:g}", f"{row.per_s:g}", *(f"{count:,}" for count in counts))
    return [row.database, _verdict(row.verdict), *facts]


def scenarios(promise: str, found: Sequence[Broken]) -> str:
    """What chaos has to say of a promise; nothing where no scenario is about it."""
    by_name = {each.scenario: each for each in found}
    lines = [
        [f"`{each.name}`: {each.title}", *_broken(by_name.get(each.name))]
        for each in SCENARIOS.values()
        if each.promise == promise
    ]
    return table(_BROKEN, lines, right=2) if lines else ""


def _broken(row: Broken | None) -> list[str]:
    blank = [""] * (len(_BROKEN) - 2)
    if row is None:
        return ["not run", *blank]
    if row.verdict == "skipped":
        return [f"skipped: {row.reason}", *blank]
    breaches = "; ".join(row.breaches)
    counts = (row.runs, row.acked, row.lost, row.duplicated, row.reordered)
    times = (row.pause_p50_s, row.pause_p99_s, row.budget_s, row.pause_max_s)
    verdict = f"{_verdict(row.verdict)}{breaches and ': '}{breaches}"
    return [verdict, *(f"{count:,}" for count in counts), *map(_s, times)]


def _verdict(verdict: str) -> str:
    return verdict if verdict == "pass" else f"**{verdict}**"


def _s(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3g} s"
