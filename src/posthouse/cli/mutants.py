"""`posthouse mutants`: take each safeguard out, and show who notices."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.record import record_option, recorder

if TYPE_CHECKING:
    from posthouse.testing.mutation.running import Caught
    from posthouse.testing.mutation.safeguard import Safeguard


@click.command(short_help="Take each safeguard out, and show who notices.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--seeds", type=click.IntRange(1), default=300, show_default=True, help="Of the simulation, at most."
)
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes.  [default: one a core]")
@record_option
@json_option
@pass_output
def mutants(
    output: Output, names: tuple[str, ...], seeds: int, jobs: int | None, record_file: Path | None
) -> None:
    """Break the product one safeguard at a time; the simulation or a named test must notice every one.

    Run it in a checkout of the repository: it needs the tests. The exit code is 5 when one went unnoticed.

    --json: one object: safeguards, each with name, promise, hazard, caught_by, seeds; and how many were not noticed.
    """
    from posthouse.testing.mutation.running import catch_all

    chosen = _chosen(names)
    recording = recorder(record_file, "name", {"seeds_max": seeds})
    rows: list[dict[str, object]] = []
    found = catch_all([each.name for each in chosen], Path.cwd(), seeds, jobs or os.cpu_count() or 1)
    for safeguard, caught in zip(chosen, found, strict=True):
        rows.append(_row(safeguard, caught))
        recording.put(rows[-1])
        if not output.json:
            output.emit(None, f"{safeguard.name:44}  {_by(caught)}")
    unnoticed = sum(not row["caught_by"] for row in rows)
    if output.json:
        output.emit({"safeguards": rows, "unnoticed": unnoticed}, "")
    if unnoticed:
        sys.exit(Exit.CHECKS_FAILED)


def _chosen(names: tuple[str, ...]) -> "list[Safeguard]":
    from posthouse.testing.mutation.safeguards import SAFEGUARDS, named

    try:
        return [named(name) for name in names] or list(SAFEGUARDS)
    except KeyError as error:
        there = ", ".join(safeguard.name for safeguard in SAFEGUARDS)
        raise Failure(f"There is no safeguard {error}.", f"There are: {there}.", Exit.USAGE) from None


def _row(safeguard: "Safeguard", caught: "Caught") -> dict[str, object]:
    return {
        "name": safeguard.name,
        "promise": safeguard.promise,
        "hazard": safeguard.prevents,
        "caught_by": caught.by,
        "seeds": caught.seeds,
    }


def _by(caught: "Caught") -> str:
    if caught.by:
        return f"the simulation, after {caught.seeds} seeds" if caught.seeds else caught.by
    return click.style("NOT NOTICED", fg="red") + (f": {caught.how}" if caught.how else "")
