"""`posthouse bench`: run a benchmark against a server of its own, beside a raw limit measured in the same run."""

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.record import record_option, recorder

NAMES = ("fanout", "send", "idle", "storm", "startup", "listing")
CLUSTER = "cluster"
"""The parameter of benchmarks that can measure a cluster."""


class Name(click.Choice[str]):
    """The name of a benchmark; of another one, the nearest is suggested."""

    def __init__(self) -> None:
        super().__init__(NAMES)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        near = get_close_matches(value, NAMES, n=1, cutoff=0.5)
        there = f"did you mean {near[0]}?" if near else f"there are: {', '.join(NAMES)}"
        return f"there is no benchmark {value!r}; {there}"


Bench = Callable[..., Coroutine[Any, Any, Mapping[str, object]]]


@click.command(short_help="Measure the service against a raw limit.")
@click.argument("name", metavar="NAME", type=Name())
@click.option(
    "--database",
    default="sqlite",
    show_default=True,
    help="sqlite, postgresql (one of its own), or postgresql://… (an empty one).",
)
@click.option(
    "--cluster",
    is_flag=True,
    help="Measure a cluster instead: a PostgreSQL with a synchronous replica (send), three nodes (fanout).",
)
@click.option(
    "--set", "sizes", multiple=True, metavar="SIZE=N", help="Change a size, such as members=200; repeatable."
)
@record_option
@json_option
@pass_output
def bench(
    output: Output, name: str, database: str, cluster: bool, sizes: tuple[str, ...], record_file: Path | None
) -> None:
    """Measure one thing: fanout, send, idle, storm, startup or listing.

    Starts a server of its own in a temporary folder, and takes a minute or more. docs/benchmarks.md says what is done
    and what the keys mean. The exit code is 5 when messages were lost, doubled or out of order; a limit that is not
    reached is told, and is no error.
    """
    import uvloop

    from posthouse.cli.progress import working
    from posthouse.load.bench.limits import row, title

    run: Bench = getattr(import_module(f"posthouse.load.bench.{name}"), name)
    changed: dict[str, int | float] = dict(_size(run, size) for size in sizes)
    if cluster:
        if CLUSTER not in inspect.signature(run).parameters:
            raise click.BadParameter(f"{name} does not measure a cluster", param_hint="--cluster")
        changed[CLUSTER] = True
    asked = title(name, database, sizes, cluster=cluster)
    recording = recorder(record_file, "benchmark", {})
    with working(f"bench {name}", shown=not output.json):
        result = uvloop.run(_measured(run(database, **changed)))
    found = row(asked, result)
    recording.put(found)
    output.emit({**result, "limits": found["limits"]}, _told(result, found["limits"]))
    if found["broken"]:
        raise Failure(
            "The checks failed: messages were lost, doubled or out of order.", "", Exit.CHECKS_FAILED
        )


async def _measured(running: Coroutine[Any, Any, Mapping[str, object]]) -> Mapping[str, object]:
    from posthouse.testing.servers import ServerFailed

    try:
        return await running
    except ServerFailed as error:
        raise Failure(f"The benchmark's own server failed: {error}") from None


def _size(run: Bench, size: str) -> tuple[str, int | float]:
    """One SIZE=N, with N of the type that the benchmark has there."""
    known = {
        each.name: each.default
        for each in inspect.signature(run).parameters.values()
        if each.name not in ("database", CLUSTER)
    }
    name, _, value = size.partition("=")
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise click.BadParameter(f"there is no size {name!r}; {hint}", param_hint="--set")
    try:
        return name, type(known[name])(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no number; {name} is {known[name]}", param_hint="--set"
        ) from None


def _told(result: Mapping[str, object], limits: Sequence[Mapping[str, Any]]) -> str:
    width = max(map(len, result))
    lines = [f"{key:{width}}  {_shown(value)}" for key, value in result.items()]
    for each in limits:
        reached = "reached" if each["reached"] else click.style("not reached", fg="red")
        lines.append(f"{'limit':{width}}  {each['figure']} {each['how']} {each['limit']:g}: {reached}")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
