"""`posthouse token`: an access token for one user, on standard output and nothing else there."""

import sys

import click

from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.spans import Span


@click.command(short_help="Make an access token.")
@click.argument("user")
@click.option(
    "--ttl", type=Span(), help="How long it lives: 90 (seconds), 15m, 12h, 7d.  [default: as the server]"
)
@click.option("--device", default="", help="Good for this device only.")
@click.option("--app", default="", help="The app, where there are several.")
@click.option("--data", metavar="FOLDER", help="The server's data folder.  [default: ./posthouse-data]")
@click.option("--config", "config_file", metavar="FILE", help="The server's configuration file.")
@json_option
@pass_output
def token(
    output: Output,
    user: str,
    ttl: int | None,
    device: str,
    app: str,
    data: str | None,
    config_file: str | None,
) -> None:
    """Make an access token for USER.

    The keys of the data folder sign it, so it works on the server that keeps its data there.

    \b
      export POSTHOUSE_TOKEN=$(posthouse token ann)
    """
    from posthouse.cli.issuing import Issuer, node_config
    from posthouse.kit.clock import SystemClock

    config = node_config(data, config_file)
    issuer = Issuer(config, app)
    now_s = SystemClock().now_ms() // 1000
    issued = issuer.issue(user, now_s, ttl or config.auth.token_ttl_s, device)
    record = {"app": issuer.app, "user": user, "token": issued.token, "expires_s": issued.expires_s}
    output.emit(record, issued.token)
    if sys.stdout.isatty():
        output.note(click.style(f"{user} of app {issuer.app}, until {_local(issued.expires_s)}", dim=True))


def _local(seconds: int) -> str:
    from posthouse.cli.times import local_time

    return local_time(seconds * 1000)
