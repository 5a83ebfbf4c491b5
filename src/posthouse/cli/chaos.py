"""`posthouse chaos`: break a cluster of its own while clients talk, and tell what they noticed."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from posthouse.cli.cluster import explained
from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output

if TYPE_CHECKING:
    from posthouse.load.chaos.recording import Recording
    from posthouse.load.chaos.running import Chaos


@click.group(short_help="Break a cluster while clients talk, and tell what they noticed.")
def chaos() -> None:
    """Kill, freeze and cut off parts of a cluster, while clients in other processes send and receive all the time.

    Brings up a cluster of its own (see `posthouse cluster`). docs/chaos.md says what is done and how it is measured.

    \b
      posthouse chaos list
      posthouse chaos run kill-node kill-database-primary
      posthouse chaos all --html proof.html
    """


@chaos.command("list", short_help="List the scenarios.")
@json_option
@pass_output
def list_(output: Output) -> None:
    """List the scenarios, and how long a client may be without deliveries in each."""
    from posthouse.load.chaos.scenarios import SCENARIOS

    width = max(map(len, SCENARIOS))
    for each in SCENARIOS.values():
        record = {"scenario": each.name, "budget_s": each.budget_s, "title": each.title, "story": each.story}
        output.emit(record, f"{each.name:{width}}  {each.budget_s:4g} s  {each.title}")


def _options(command: "click.decorators.FC") -> "click.decorators.FC":
    for option in reversed(
        (
            click.option(
                "--runs", type=click.IntRange(1), default=3, show_default=True, help="Of each scenario."
            ),
            click.option(
                "--rate", type=click.FloatRange(1), default=500, show_default=True, help="Messages a second."
            ),
            click.option(
                "--clients", type=click.IntRange(30), default=300, show_default=True, help="A multiple of 30."
            ),
            click.option("--nodes", type=click.IntRange(1, 16), default=3, show_default=True, help="Nodes."),
            click.option(
                "--databases", type=click.IntRange(1, 8), default=2, show_default=True, help="Databases."
            ),
            click.option(
                "--html",
                "page_file",
                metavar="FILE",
                type=click.Path(dir_okay=False, writable=True, path_type=Path),
                help="Write a page with charts.",
            ),
            json_option,
            pass_output,
        )
    ):
        command = option(command)
    return command


@chaos.command(short_help="Run some scenarios.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_options
def run(
    output: Output,
    names: tuple[str, ...],
    runs: int,
    rate: float,
    clients: int,
    nodes: int,
    databases: int,
    page_file: Path | None,
) -> None:
    """Run the named scenarios. The exit code is 5 when one of them did not hold."""
    from posthouse.load.chaos.scenarios import SCENARIOS

    for name in names:
        if name not in SCENARIOS:
            near = get_close_matches(name, SCENARIOS, n=1)
            hint = f"did you mean {near[0]}?" if near else "`posthouse chaos list` shows them."
            raise click.BadParameter(f"there is no scenario {name!r}; {hint}", param_hint="NAME")
    _run(output, names, runs, rate, clients, nodes, databases, page_file)


@chaos.command("all", short_help="Run all scenarios.")
@_options
def all_(
    output: Output,
    runs: int,
    rate: float,
    clients: int,
    nodes: int,
    databases: int,
    page_file: Path | None,
) -> None:
    """Run every scenario. The exit code is 5 when one of them did not hold."""
    from posthouse.load.chaos.scenarios import SCENARIOS

    _run(output, tuple(SCENARIOS), runs, rate, clients, nodes, databases, page_file)


def _run(
    output: Output,
    names: Sequence[str],
    runs: int,
    rate: float,
    clients: int,
    nodes: int,
    databases: int,
    page_file: Path | None,
) -> None:
    import uvloop

    from posthouse.load.chaos.running import Chaos
    from posthouse.load.chaos.site import CLIENTS_STEP, Load
    from posthouse.testing.playground.cluster import LocalCluster
    from posthouse.testing.playground.plan import Plan

    if clients % CLIENTS_STEP:
        raise click.BadParameter(f"{clients} is no multiple of {CLIENTS_STEP}", param_hint="--clients")
    plan = Plan(nodes=nodes, databases=databases)
    play = Chaos(lambda: LocalCluster(plan), Load(rate, clients), output.note)
    recordings: list[Recording] = []
    with explained():
        try:
            uvloop.run(_record(play, names, runs, output, recordings))
        finally:
            play.close()
            if page_file is not None and recordings:
                _write_page(page_file, recordings)
    failed = [each.scenario for each in recordings if each.verdict != "pass"]
    if failed:
        raise Failure(f"Did not hold: {', '.join(failed)}.", "", Exit.CHECKS_FAILED)


async def _record(
    play: "Chaos", names: Sequence[str], runs: int, output: Output, recordings: "list[Recording]"
) -> None:
    from posthouse.load.chaos.recording import summary
    from posthouse.load.chaos.scenarios import SCENARIOS
    from posthouse.testing.playground.programs import find_programs

    for name in names:
        if SCENARIOS[name].balancer and find_programs().haproxy is None:
            output.note(f"{name}: left out, HAProxy is not installed")
            continue
        recording = await play.record(SCENARIOS[name], runs)
        recordings.append(recording)
        output.emit(summary(recording) | {"runs": runs}, _told(recording))


def _told(recording: "Recording") -> str:
    colour = "green" if recording.verdict == "pass" else "red"
    lines = [
        f"{click.style(recording.verdict, fg=colour, bold=True)}  {recording.scenario}",
        f"  acknowledged  {recording.acked:,}",
        f"  lost          {recording.lost}",
        f"  duplicated    {recording.duplicated}",
        f"  reordered     {recording.reordered}",
        f"  pause         p99 {recording.pause_p99_s:g} s of {recording.budget_s:g} s, max {recording.pause_max_s:g} s",
        *(f"  {breach}" for breach in recording.breaches),
    ]
    return "\n".join(lines)


def _write_page(path: Path, recordings: "Sequence[Recording]") -> None:
    import os
    import platform

    from posthouse.load.chaos.page import page

    machine = (
        f"Everything ran on one machine: {os.cpu_count()} cores, {platform.system()} {platform.release()}."
    )
    path.write_text(page(recordings, machine), "utf-8")
