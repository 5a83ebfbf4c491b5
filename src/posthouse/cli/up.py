"""`posthouse up`: run a server until Ctrl-C, and say where it listens and how to go on."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from posthouse.cli.listening import explained
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.workers import FLAGS, supervise

if TYPE_CHECKING:
    from posthouse.app.config import Config

DEFAULT_FOLDER = "posthouse-data"
OPTIONS = {"listen.port": "--port", "workers.count": "--workers", **FLAGS}
"""Keys of the configuration, and what those who start it call them."""


@click.command
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65_535),
    help="Where to listen; 0 takes a free one.  [default: 8080]",
)
@click.option(
    "--host", metavar="ADDRESS", help="The address to listen on; 0.0.0.0 for every one.  [default: 127.0.0.1]"
)
@click.option(
    "--data",
    metavar="FOLDER",
    type=click.Path(file_okay=False),
    help="The data folder.  [default: ./posthouse-data]",
)
@click.option(
    "--database", metavar="URL", help="sqlite, or postgresql://user:password@host/name.  [default: sqlite]"
)
@click.option(
    "--config", "file", type=click.Path(dir_okay=False, path_type=Path), help="A configuration file."
)
@click.option(
    "--tls-certificate",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Speak TLS with this certificate, in PEM, those that lead to its authority after it.",
)
@click.option("--tls-key", metavar="FILE", type=click.Path(dir_okay=False), help="The certificate's key.")
@click.option(
    "--log-level",
    metavar="LEVEL",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="debug, info, warning or error, to standard error.  [default: info; warning in a terminal]",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(0, 512),
    help="So many processes under a supervisor, one for each core. Needs PostgreSQL and a cache.  [default: 0]",
)
@click.option("--worker", metavar="N", type=int, hidden=True)
@click.option("--line", metavar="FD", type=int, default=-1, hidden=True)
@click.option("--because", metavar="WHY", default="", hidden=True)
@json_option
@pass_output
def up(
    output: Output,
    port: int | None,
    host: str | None,
    data: str | None,
    database: str | None,
    file: Path | None,
    tls_certificate: str | None,
    tls_key: str | None,
    log_level: str | None,
    workers: int | None,
    worker: int | None,
    line: int,
    because: str,
) -> None:
    """Run a server.

    Everything has a default: without options it listens on port 8080 of this machine, keeps its data in
    ./posthouse-data, and makes the keys it needs there. Ctrl-C stops it, a second one ends it at once.
    """
    from posthouse.app.config import load

    flags = {
        "listen.port": port,
        "listen.host": host,
        "data.folder": data,
        "database.url": database,
        "tls.certificate": tls_certificate,
        "tls.key": tls_key,
        "log.level": log_level,
        "workers.count": workers,
    }
    loaded = load(file, os.environ, flags, OPTIONS)
    if "log.level" not in loaded.origins and sys.stderr.isatty() and not output.json:
        flags["log.level"] = "warning"
        loaded = load(file, os.environ, flags, OPTIONS)
    config = loaded.config
    if worker is not None:
        _work(config, worker, line, because)
    elif config.workers.count:
        supervise(config, file, flags, lambda port: _greet(config, port, output))
        output.note("Stopped.")
    else:
        _serve(config, output)


def _serve(config: "Config", output: Output) -> None:
    from posthouse.app.run import run

    try:
        run(config, lambda node: _greet(config, node.port, output))
    except OSError as error:
        raise explained(error, config) from error
    output.note("Stopped.")


def _work(config: "Config", number: int, line: int, why: str) -> None:
    """Be one of several workers: the supervisor is told, nobody else."""
    from posthouse.app.pulse import Pulse
    from posthouse.app.run import Worker, run

    try:
        run(config, worker=Worker(number, Pulse(line), why))
    except OSError as error:
        raise explained(error, config) from error


def _greet(config: "Config", port: int, output: Output) -> None:
    """The server is ready: let the commands beside its data folder find it, and say so to whoever started it."""
    from posthouse.cli.reach import ADDRESS_FILE
    from posthouse.cli.trust import note_certificate

    folder = Path(config.data.folder)
    address = f"http{'s' if config.tls.certificate else ''}://{_reachable(config.listen.host)}:{port}"
    (folder / ADDRESS_FILE).write_text(f"{address}\n", "utf-8")
    note_certificate(folder, config.tls.certificate)
    record = {"ready": True, "address": address, "data": config.data.folder, "pid": os.getpid()}
    output.emit(record, _first_screen(config, address))


def _first_screen(config: "Config", address: str) -> str:
    folder, command = Path(config.data.folder), own_name()
    where = "" if folder == Path(DEFAULT_FOLDER) else f" --data {folder}"
    engine = "SQLite" if config.database.url == "sqlite" else "keys only; entries are in PostgreSQL"
    title = click.style("Posthouse is ready", fg="green", bold=True)
    rows = (
        ("address", address),
        ("data", f"{folder.absolute()}  ({engine})"),
        ("chat", f"{command} chat --as ann --with bob{where}"),
        ("", f"{command} chat --as bob --with ann{where}"),
    )
    lines = [f"  {click.style(f'{name:9}', dim=True)}{text}" for name, text in rows]
    return "\n".join([title, "", *lines, "", click.style("Ctrl-C stops it.", dim=True)])


def own_name() -> str:
    """How this program was called, so that what is shown can be copied."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m posthouse"
    found = shutil.which(called.name)
    on_path = found is not None and Path(found).resolve() == called.resolve()
    return called.name if on_path else min(os.path.relpath(called), str(called.absolute()), key=len)


def _reachable(host: str) -> str:
    """An address of this machine at which a server that listens on `host` can be reached."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host
