"""`posthouse shards`: which database holds which part of the conversations, and moving parts while messages flow."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output

if TYPE_CHECKING:
    from posthouse.app.config import Config
    from posthouse.app.shards import Move, Place

DEFAULT_FILE = "posthouse.toml"
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


@click.group()
def shards() -> None:
    """Show and move the shards: the fixed slices in which conversations and users lie in databases.

    Asks the databases of a node's configuration directly; no node needs to run.
    """


file_option = click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"A node's configuration file.  [default: {DEFAULT_FILE}, where there is one]",
)


@shards.command("list", short_help="Show which database owns which shards.")
@file_option
@json_option
@pass_output
def list_shards(output: Output, file: Path | None) -> None:
    """Show which database owns which shards, and which rows of shards that have left are still kept."""
    import asyncio

    for name, owned, left in asyncio.run(_listed(_config(file))):
        record = {"database": name, "shards": owned, "left_behind": left}
        text = f"{name}: {len(owned)} shards{': ' if owned else ''}{_ranges(owned)}"
        output.emit(record, text + (f"; rows kept of {_ranges(left)}" if left else ""))


@shards.command(short_help="Move shards to another database while messages flow.")
@click.argument("wanted", metavar="SHARD...", nargs=-1, required=True)
@click.option("--to", required=True, metavar="NAME", help="The database, as the configuration calls it.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0),
    default=15.0,
    show_default=True,
    help="Seconds to wait for the feed's readers before what was left behind is deleted.",
)
@file_option
@json_option
@pass_output
def move(output: Output, wanted: tuple[str, ...], to: str, wait_s: float, file: Path | None) -> None:
    """Move each SHARD, a number or a range such as 8-15, to another database.

    Messages go on: writes to one shard are held up for less than a second, and sends meanwhile are repeated by the
    clients. It may be stopped at any time and run again; it then finishes what it had begun. What a shard leaves
    behind is deleted once all readers of the feed have passed it, by this or any later move.
    """
    import asyncio

    numbers = [number for text in wanted for number in _numbers(text)]
    failed = asyncio.run(_moved(output, _config(file), list(dict.fromkeys(numbers)), to, wait_s))
    if failed:
        raise Failure(
            f"{failed} of the shards could not be moved.",
            "Run the same command again: it goes on from there.",
        )


async def _listed(config: "Config") -> list[tuple[str, list[int], list[int]]]:
    from posthouse.app import shards
    from posthouse.kit.clock import SystemClock

    async with shards.opened(config, SystemClock()) as several:
        places = await shards.places(several)
    return [
        (name, [each.shard for each in places if each.database == name], _left(places, name))
        for name in several.named
    ]


async def _moved(output: Output, config: "Config", numbers: Sequence[int], to: str, wait_s: float) -> int:
    from posthouse.app import shards
    from posthouse.kit.clock import SystemClock

    clock = SystemClock()
    async with shards.opened(config, clock) as several:
        try:
            moves = await shards.move(
                several, numbers, to, clock, lambda each: output.emit(_record(each), _told(each))
            )
        except shards.CannotMove as error:
            raise Failure(f"{error}.", exit_code=Exit.USAGE) from None
        for name, kept in (await shards.clear(several, clock, wait_s)).items():
            for shard, readers in kept.items():
                output.note(f"{name} keeps its rows of shard {shard}: {', '.join(readers)} may need them.")
    return sum(not each.done for each in moves)


def _record(each: "Move") -> dict[str, Any]:
    return {
        "shard": each.shard,
        "from": each.source,
        "to": each.target,
        "moved": each.done,
        "paused_ms": each.paused_ms,
        "rows": each.rows,
        "passes": each.passes,
        "freezes": each.freezes,
        "reason": each.reason,
    }


def _told(each: "Move") -> str:
    if not each.done:
        return f"shard {each.shard} stays in {each.source}: {each.reason}"
    if each.source == each.target:
        return f"shard {each.shard} is in {each.target} already"
    return (
        f"shard {each.shard} moved from {each.source} to {each.target}: {each.rows} rows, "
        f"writes held up for {each.paused_ms:.0f} ms"
    )


def _left(places: "Sequence[Place]", name: str) -> list[int]:
    return [each.shard for each in places if name in each.leaving]


def _numbers(text: str) -> list[int]:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise Failure(f"{text!r} is neither a shard's number nor a range such as 8-15.", exit_code=Exit.USAGE)
    first = int(found[1])
    return list(range(first, int(found[2] or first) + 1))


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers in few words: 0-3, 7, 9-12."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _config(file: Path | None) -> "Config":
    from posthouse.app.config import load

    if file is not None and not file.exists():
        raise Failure(f"There is no file {file}.", f"Begin one with: posthouse config init {file}")
    default = Path(DEFAULT_FILE)
    return load(file or (default if default.exists() else None), os.environ).config
