"""`posthouse replay`: play a chat log through SDK clients, and check what every reader was given."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.trust import ca_option, trust

if TYPE_CHECKING:
    import ssl

    from posthouse.client import Runtime
    from posthouse.load.irc import Day
    from posthouse.load.replay import Options
    from posthouse.load.report import Report

BREACHES_SHOWN_MAX = 5


@click.command(short_help="Play a chat log, and check what everyone received.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--speed",
    metavar="N",
    type=click.FloatRange(0, min_open=True),
    help="So many times real time.  [default: no pauses]",
)
@click.option("--days", metavar="N", type=click.IntRange(1), help="Only the first N days of the log.")
@click.option(
    "--concurrent-days",
    metavar="N",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Days played at once.",
)
@click.option(
    "--address", metavar="URL", default="", envvar="POSTHOUSE_ADDRESS", show_envvar=True, help="The server."
)
@click.option(
    "--api-key",
    metavar="KEY",
    default="",
    envvar="POSTHOUSE_APIKEY",
    show_envvar=True,
    help="A back end's key.",
)
@click.option("--data", metavar="FOLDER", help="The server's data folder.  [default: ./posthouse-data]")
@ca_option
@json_option
@pass_output
def replay(
    output: Output,
    file: Path,
    speed: float | None,
    days: int | None,
    concurrent_days: int,
    address: str,
    api_key: str,
    data: str | None,
    ca: str,
) -> None:
    """Play the chat log FILE on a running server: one client a nick, one group a day.

    FILE has one JSON object a line (at, kind, nick, text, to), gzipped or not. Joins, leaves and renames are played
    too. Ends with what was checked from the side of every reader; the exit code is 5 when a check failed.

    \b
      posthouse replay irc.jsonl.gz --days 3
    """
    import uvloop

    from posthouse.cli.issuing import node_config
    from posthouse.cli.reach import address_of
    from posthouse.kit.chance import system_random
    from posthouse.load.irc import BadLog
    from posthouse.load.replay import Options, load

    folder = Path(node_config(data).data.folder)
    options = Options(
        address=address or address_of(folder),
        api_key=api_key or _api_key_in(folder),
        prefix=f"replay-{system_random().getrandbits(32):08x}-",
        speed=speed or 0.0,
        concurrent_days=concurrent_days,
    )
    try:
        log = load(file, days or 0)
    except (BadLog, EOFError, OSError) as error:
        raise Failure(f"{file} cannot be played: {error}.") from None
    report = uvloop.run(_play(log, options, trust(ca, address, folder), output))
    output.emit(report, _summary(file, report))
    if not report.holds:
        raise Failure("The checks failed.", "", Exit.CHECKS_FAILED)


async def _play(
    days: "list[Day]", options: "Options", tls: "ssl.SSLContext | None", output: Output
) -> "Report":
    from posthouse.cli.progress import progress
    from posthouse.cli.reach import probe
    from posthouse.client import Runtime
    from posthouse.load.irc import Act
    from posthouse.load.replay import Replay

    await probe(options.address)
    total = sum(step.act is Act.MESSAGE for day in days for step in day.steps)
    async with Runtime(tls=tls) as runtime:
        await _check_key(options, runtime)
        run = Replay(days, options, runtime)
        with progress("messages", total, lambda: run.report.acked, runtime, shown=not output.json):
            return await run.run()


async def _check_key(options: "Options", runtime: "Runtime") -> None:
    """Raise `Failure` at once for a key that the server refuses, where clients would go on asking for tokens."""
    from posthouse.client.errors import RequestRefused
    from posthouse.load.backend import Backend
    from posthouse.protocol.codes import Code

    try:
        await Backend(options.address, options.api_key, runtime).check_key()
    except RequestRefused as refused:
        if refused.code != Code.UNAUTHORIZED:
            raise
        raise Failure(
            f"The server refused the API key: {refused.reason}.",
            "Give the server's own with --api-key, or name its data folder with --data.",
            Exit.UNAUTHORIZED,
        ) from None


def _api_key_in(folder: Path) -> str:
    from posthouse.app.secrets import FILE, load

    if not (folder / FILE).exists():
        raise Failure(
            f"There is no API key in {folder}.",
            "Run this where `posthouse up` runs, name its data folder with --data, or give --api-key.",
            Exit.UNAUTHORIZED,
        )
    return load(folder).api_key


def _summary(file: Path, report: "Report") -> str:
    said = f"{_counted(report.messages, 'message')} by {_counted(report.clients, 'client')}"
    played = f"{_counted(report.days, 'day')}, {said}"
    lines = [
        f"{file.name}: {played} in {report.seconds:,.1f} s, {report.messages_per_s:,.1f} a second",
        f"  acknowledged  {report.acked:,} of {report.messages:,}",
        f"  delivered     {report.deliveries:,} entries, every one checked against its reader's log",
        f"  lost          {report.lost:,}",
        f"  duplicated    {report.duplicated:,}",
        f"  reordered     {report.reordered:,}",
    ]
    return "\n".join([*lines, *(f"  {breach}" for breach in report.breaches[:BREACHES_SHOWN_MAX])])


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"
