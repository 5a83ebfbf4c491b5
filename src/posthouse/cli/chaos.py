"""`posthouse chaos`: break a cluster of its own while clients talk, and tell what they noticed."""

import functools
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from posthouse.cli.cluster import explained
from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.record import record_option, recorder

if TYPE_CHECKING:
    from posthouse.load.chaos.proof import Proof
    from posthouse.load.chaos.recording import Recording
    from posthouse.load.chaos.running import Chaos
    from posthouse.load.chaos.site import Load


@click.group(short_help="Break a cluster while clients talk, and tell what they noticed.")
def chaos() -> None:
    """Kill, freeze and cut off parts of a cluster, while clients in other processes send and receive all the time.

    Brings up a cluster of its own (see `posthouse cluster`). docs/chaos.md says what is done and how it is measured.

    \b
      posthouse chaos list
      posthouse chaos run kill-node kill-database-primary
      posthouse chaos run random --seed 7
      posthouse chaos all --html proof.html --record proof.json
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


class Options(NamedTuple):
    """What all runs have in common."""

    runs: int
    rate: float
    clients: int
    nodes: int
    databases: int
    seed: int
    page_file: Path | None
    record_file: Path | None


_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
_number = partial(click.option, show_default=True)
_OPTIONS = (
    _number("--runs", type=click.IntRange(1), default=3, help="Of each scenario."),
    _number("--rate", type=click.FloatRange(1), default=500, help="Messages a second."),
    _number("--clients", type=click.IntRange(30), default=300, help="A multiple of 30."),
    _number("--nodes", type=click.IntRange(3, 16), default=3, help="Nodes."),
    _number("--databases", type=click.IntRange(1, 8), default=2, help="Databases."),
    _number("--seed", type=click.IntRange(0), default=1, help="Of random faults, and of what is said."),
    click.option(
        "--html",
        "page_file",
        metavar="FILE",
        type=_FILE,
        help="Write a page with charts of all that is in the record.",
    ),
    record_option,
    json_option,
    pass_output,
)


def _chaotic(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options; it gets them as one."""

    @functools.wraps(command)
    def gathered(output: Output, names: tuple[str, ...] = (), **given: Any) -> None:
        command(output, names, Options(**given))

    decorated: Any = gathered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click's decorators keep what they are given


@chaos.command(short_help="Run some scenarios.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_chaotic
def run(output: Output, names: tuple[str, ...], options: Options) -> None:
    """Run the named scenarios. The exit code is 5 when one of them did not hold.

    What this machine does not allow is skipped, with the reason.
    """
    from posthouse.load.chaos.scenarios import SCENARIOS

    for name in names:
        if name not in SCENARIOS:
            near = get_close_matches(name, SCENARIOS, n=1)
            hint = f"did you mean {near[0]}?" if near else "`posthouse chaos list` shows them."
            raise click.BadParameter(f"there is no scenario {name!r}; {hint}", param_hint="NAME")
    _run(output, names, options)


@chaos.command("all", short_help="Run all scenarios.")
@_chaotic
def all_(output: Output, _names: tuple[str, ...], options: Options) -> None:
    """Run every scenario. The exit code is 5 when one of them did not hold.

    What this machine does not allow is skipped, with the reason.
    """
    from posthouse.load.chaos.scenarios import SCENARIOS

    _run(output, tuple(SCENARIOS), options)


def _run(output: Output, names: Sequence[str], options: Options) -> None:
    import uvloop

    from posthouse.load.chaos.running import Chaos
    from posthouse.load.chaos.site import CLIENTS_STEP, Load
    from posthouse.testing.playground.plan import Plan

    if options.clients % CLIENTS_STEP:
        raise click.BadParameter(
            f"{options.clients} is no multiple of {CLIENTS_STEP}", param_hint="--clients"
        )
    load = Load(options.rate, options.clients, options.seed)
    with explained():
        proof = _proof(load, options)
        play = Chaos(Plan(nodes=options.nodes, databases=options.databases), load, output.note)
        try:
            uvloop.run(_record(play, names, options, output, proof))
        finally:
            play.close()
    failed = [each.scenario for each in proof.recordings if each.verdict == "fail"]
    if failed:
        raise Failure(f"Did not hold: {', '.join(failed)}.", "", Exit.CHECKS_FAILED)


def _proof(load: "Load", options: Options) -> "Proof":
    from posthouse.load.chaos import proof

    asked = proof.options(load, options.nodes, options.databases, options.runs)
    page = options.page_file
    before = page.read_text("utf-8", "replace") if page is not None and page.is_file() else ""
    return proof.Proof(recorder(options.record_file, proof.KEY, asked, proof.programs()), before)


async def _record(
    play: "Chaos", names: Sequence[str], options: Options, output: Output, proof: "Proof"
) -> None:
    from posthouse.load.chaos.recording import summary
    from posthouse.load.chaos.scenarios import SCENARIOS
    from posthouse.testing.records import write_whole

    for name in names:
        recording = await play.record(SCENARIOS[name], options.runs)
        proof.add(recording)
        if options.page_file is not None:
            write_whole(options.page_file, proof.page().encode())
        output.emit(summary(recording), _told(recording))


def _told(recording: "Recording") -> str:
    colour = {"pass": "green", "fail": "red"}.get(recording.verdict, "yellow")
    title = f"{click.style(recording.verdict, fg=colour, bold=True)}  {recording.scenario}"
    if recording.reason:
        return f"{title}  {recording.reason}"
    if recording.pause_p99_s is None:
        return "\n".join([title, *(f"  {breach}" for breach in recording.breaches)])
    found = "" if recording.detected_s is None else f"found after {recording.detected_s:g} s, "
    whole = "never" if recording.recovered_s is None else f"after {recording.recovered_s:g} s"
    lines = [
        title,
        f"  acknowledged  {recording.acked:,}",
        f"  lost          {recording.lost}",
        f"  duplicated    {recording.duplicated}",
        f"  reordered     {recording.reordered}",
        f"  pause         p99 {recording.pause_p99_s:g} s of {recording.budget_s:g} s, max {recording.pause_max_s:g} s",
        f"  sends waited  p99 {recording.send_p99_s:g} s",
        f"  fault         {found}overcome {whole}",
        *(f"  {breach}" for breach in recording.breaches),
    ]
    return "\n".join(lines)
