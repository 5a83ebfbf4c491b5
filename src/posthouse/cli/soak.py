"""`posthouse soak`: traffic for an hour on nodes of its own, and whether what they hold stays as it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.record import record_option, recorder

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command(short_help="Let people talk for an hour, and see whether memory stays flat.")
@click.option("--minutes", type=click.FloatRange(0.1), default=60, show_default=True, help="For how long.")
@click.option("--rate", type=click.FloatRange(1), default=60, show_default=True, help="Messages a second.")
@click.option(
    "--residents",
    type=click.IntRange(10),
    default=60,
    show_default=True,
    help="A multiple of 10: people who stay.",
)
@click.option("--cluster", is_flag=True, help="Two nodes on PostgreSQL and Valkey, instead of one on SQLite.")
@record_option
@json_option
@pass_output
def soak(
    output: Output, minutes: float, rate: float, residents: int, cluster: bool, record_file: Path | None
) -> None:
    """Let people talk, reconnect, come, go and refuse to read, and watch what the nodes hold meanwhile.

    Every ten seconds memory, descriptors, threads, tasks, timers, and every object and container of each node are
    counted. In a run of ten minutes or more none of them may grow over the second half; when everybody has left, all
    must be as before. The exit code is 5 when something grew or was left, or a promise was broken.
    """
    import uvloop

    from posthouse.cli.progress import working
    from posthouse.load.soak.soak import soak as run

    if residents % 10:
        raise click.BadParameter(f"{residents} is no multiple of 10", param_hint="--residents")
    asked = {"minutes": minutes, "rate": rate, "residents": residents, "cluster": cluster}
    recording = recorder(record_file, "database", asked)
    with working("soak", shown=not output.json):
        result = uvloop.run(run(minutes=minutes, per_s=rate, residents=residents, cluster=cluster))
    recording.put(result)
    output.emit(result, _told(result))
    if result["verdict"] != "pass":
        raise Failure("Something grew, was left, or broke a promise.", "", Exit.CHECKS_FAILED)


def _told(result: "Mapping[str, Any]") -> str:
    lines = [
        f"{result['minutes']:g} minutes, {result['acked']:,} acknowledged, {result['deliveries']:,} deliveries;",
        f"lost {result['lost']}, duplicated {result['duplicated']}, reordered {result['reordered']}",
    ]
    for process, figures in result["figures"].items():
        for name, each in figures.items():
            state = "flat" if each["flat"] else click.style("grows", fg="red")
            lines.append(
                f"  {process:8} {name:12} {each['median']:>12,.0f}  {each['per_hour']:+,.1f} an hour  {state}"
            )
    for kind in ("grown", "left"):
        lines += [
            f"  {kind}: {each.process} {each.what} {each.now:,.0f} (+{each.growth:,.0f})"
            for each in result[kind]
        ]
    return "\n".join([*lines, *result["breaches"]])
