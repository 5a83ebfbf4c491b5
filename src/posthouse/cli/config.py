"""`posthouse config`: check a configuration, show what is in force and why, begin a file that explains every key."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from posthouse.cli.failure import Failure
from posthouse.cli.output import Output, json_option, pass_output

if TYPE_CHECKING:
    from posthouse.app.config import Loaded

DEFAULT_FILE = "posthouse.toml"


@click.group
def config() -> None:
    """Check, show or begin a configuration file.

    A key of the file is overridden by the environment (listen.port by POSTHOUSE_LISTEN_PORT), that by a flag.
    """


@config.command(short_help="Say whether a server would start with a file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=DEFAULT_FILE)
@json_option
@pass_output
def check(output: Output, file: Path) -> None:
    """Say whether a server would start with FILE (posthouse.toml) and this environment.

    Everything is checked but what only starting can tell, such as whether the port is free.
    """
    loaded = _load(file)
    _check_keys(loaded)
    _check_certificate(loaded)
    given = len(loaded.origins)
    text = f"{file} is right: {given} key{'' if given == 1 else 's'} set, the others have their defaults."
    output.emit({"ok": True, "file": str(file), "set": sorted(loaded.origins)}, text)


@config.command(short_help="Show what is in force, and why.")
@click.option(
    "--config", "file", type=click.Path(dir_okay=False, path_type=Path), help="The configuration file."
)
@json_option
@pass_output
def show(output: Output, file: Path | None) -> None:
    """Show every key in force, and where it comes from unless it is the default. Secrets are masked."""
    import tomllib

    from posthouse.app.config import render

    loaded = _load(file)
    text = render(loaded.config, loaded.origins)
    output.emit({"config": tomllib.loads(text), "origins": loaded.origins}, text.rstrip("\n"))


@config.command(short_help="Begin a file that explains every key.")
@click.argument("file", type=click.Path(allow_dash=True), default=DEFAULT_FILE)
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@pass_output
def init(output: Output, file: str, force: bool) -> None:
    """Write a FILE (posthouse.toml; - for standard output) that explains every key and changes nothing."""
    from posthouse.app.config import sample

    if file == "-":
        click.echo(sample(), nl=False)
        return
    try:
        with Path(file).open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(sample())
    except FileExistsError:
        raise Failure(f"{file} exists already.", "Name another file, or overwrite it with --force.") from None
    output.note(f"Wrote {file}. Start with it: posthouse up --config {file}")


def _load(file: Path | None) -> "Loaded":
    from posthouse.app.config import load

    if file is not None and not file.exists():
        raise Failure(f"There is no file {file}.", f"Begin one with: posthouse config init {file}")
    return load(file, os.environ)


def _check_certificate(loaded: "Loaded") -> None:
    """Whether a server could speak TLS as configured. Raises `CertificateError` and `NoAuthority`."""
    from posthouse.app.certificates import Certificates
    from posthouse.kit.clock import SystemClock
    from posthouse.kit.tls import trusting

    tls = loaded.config.tls
    if tls.certificate:
        Certificates(tls, SystemClock(), lambda why: None).load()
    if tls.ca:
        trusting(tls.ca)


def _check_keys(loaded: "Loaded") -> None:
    """Whether the apps' keys can be used; those in the data folder were made by us. Raises `InvalidKey`."""
    from posthouse.auth.keys import ApiKeys
    from posthouse.auth.tokens import TokenVerifier
    from posthouse.cli.issuing import app_keys

    if not loaded.config.apps:
        return
    apps = app_keys(loaded.config)
    TokenVerifier(apps, ttl_s_max=loaded.config.auth.token_ttl_s_max)
    ApiKeys((app, digest) for app, keys in apps.items() for digest in keys.api_key_hashes)
