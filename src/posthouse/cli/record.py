"""The option `--record`: what a run has found, kept in a file beside what other runs have found."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from posthouse.cli.failure import Exit, Failure

if TYPE_CHECKING:
    from posthouse.testing.records import Recorder

record_option = click.option(
    "--record",
    "record_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the figures and the machine as JSON; what else the file holds stays.",
)


def recorder(
    file: Path | None, key: str, options: Mapping[str, Any], versions: Mapping[str, str] | None = None
) -> "Recorder":
    """What keeps the rows of a run; asked for before it, so that a file that will not do is told at once."""
    from posthouse.testing.records import Malformed, Recorder

    try:
        return Recorder(file, key, options, versions)
    except (Malformed, OSError) as error:
        todo = "Name another file, or put it right: nothing was run."
        raise Failure(f"{error}.", todo, Exit.USAGE) from None
