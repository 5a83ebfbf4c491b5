"""`posthouse sim`: play simulated clusters under many seeds, and name every seed that breaks a promise."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from posthouse.cli.failure import Exit
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.record import record_option, recorder

if TYPE_CHECKING:
    from posthouse.testing.simulation.seeds import Outcome

_TOTALS = ("seeds", "sends", "acked", "deliveries", "faults", "violations", "virtual_s", "seconds")


@click.command(short_help="Play simulated clusters under many seeds.")
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="The first one.")
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes.  [default: one a core]")
@record_option
@json_option
@pass_output
def sim(output: Output, seeds: int, first: int, jobs: int | None, record_file: Path | None) -> None:
    """Play whole clusters with their clients in virtual time, each under a seed, while faults happen.

    A seed that fails prints itself, what broke and which faults there were: run it again with --first SEED --seeds 1,
    and everything happens exactly as before. The exit code is 5 when a promise was broken.

    --json: one object: first, seeds, sends, acked, deliveries, faults, violations, virtual_s, seconds, failed_seeds.
    """
    from posthouse.kit.clock import SystemClock
    from posthouse.testing.simulation.seeds import outcomes

    recording = recorder(record_file, "first", {"first": first, "seeds": seeds})
    clock = SystemClock()
    began = clock.monotonic()
    played = _shown(outcomes(first, seeds, jobs or os.cpu_count() or 1), seeds, output)
    totals, failed = _played(played, output)
    totals["seconds"] = round(clock.monotonic() - began)
    row = {"first": first, **totals, "failed_seeds": failed}
    recording.put(row)
    output.emit(row, _summary(totals, len(failed)))
    if failed:
        sys.exit(Exit.CHECKS_FAILED)


def _played(outcomes: "Iterator[Outcome]", output: Output) -> tuple[dict[str, int], list[int]]:
    """The counts of all, and the seeds that failed, each of which is told of at once."""
    totals: dict[str, int] = dict.fromkeys(_TOTALS, 0)
    failed: list[int] = []
    for outcome in outcomes:
        totals["seeds"] += 1
        totals["faults"] += len(outcome.faults)
        totals["virtual_s"] += round(outcome.virtual_s)
        totals["sends"] += outcome.sent
        totals["acked"] += outcome.acked
        totals["deliveries"] += outcome.deliveries
        totals["violations"] += len(outcome.failures)
        if outcome.failures:
            failed.append(outcome.seed)
            output.note(_failure(outcome))
    return totals, sorted(failed)


def _shown(outcomes: "Iterator[Outcome]", total: int, output: Output) -> "Iterator[Outcome]":
    """A bar on standard error while a person is looking."""
    if output.json or not sys.stderr.isatty():
        yield from outcomes
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(outcomes, "seeds", total=total, console=Console(stderr=True), transient=True)


def _failure(outcome: "Outcome") -> str:
    lines = [f"seed {outcome.seed} fails:", *(f"  {each}" for each in outcome.failures[:5])]
    return "\n".join([*lines, "  while:", *(f"    {each}" for each in outcome.events)])


def _summary(totals: dict[str, int], failed: int) -> str:
    return (
        f"{totals['seeds']:,} seeds, {failed:,} failed. {totals['acked']:,} of {totals['sends']:,} sends "
        f"acknowledged, {totals['deliveries']:,} deliveries, {totals['faults']:,} faults in "
        f"{totals['virtual_s'] / 3600:,.1f} virtual hours."
    )
