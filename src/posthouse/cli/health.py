"""`posthouse health`: whether a node should get clients, and how it finds everything that it needs."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.trust import ca_option, trust
from posthouse.kit.malformed import MALFORMED

if TYPE_CHECKING:
    from posthouse.api.operations import Ready

_COLOURS = {"ok": "green", "slow": "yellow", "read-only": "red", "failed": "red"}


@click.command(short_help="Tell how a node is, part by part.")
@click.option(
    "--address",
    metavar="URL",
    default="",
    envvar="POSTHOUSE_ADDRESS",
    show_envvar=True,
    help="The node.  [default: the data folder's]",
)
@click.option("--data", metavar="FOLDER", help="The node's data folder.  [default: ./posthouse-data]")
@ca_option
@json_option
@pass_output
def health(output: Output, address: str, data: str | None, ca: str) -> None:
    """Tell whether a node should get clients, and how it finds everything that it needs: what /readyz answers.

    Ends with 0 when the node is ready, and with 1 when it is not.
    """
    from posthouse.cli.issuing import node_config
    from posthouse.cli.operator import key_of
    from posthouse.cli.reach import address_of

    config = node_config(data)
    folder = Path(config.data.folder)
    headers = {}
    if not address:  # the folder's own node: it may tell operators only
        with suppress(Failure):
            headers["X-Operator-Key"] = key_of(config)
    found = asyncio.run(_ask(address or address_of(folder), trust(ca, address, folder), headers))
    output.emit(found, _text(found))
    if not found.ready:
        click.get_current_context().exit(Exit.FAILED)


async def _ask(address: str, tls: ssl.SSLContext | None, headers: dict[str, str]) -> "Ready":
    import msgspec

    from posthouse.api.operations import Ready
    from posthouse.cli.reach import probe
    from posthouse.client.endpoints import parse_address
    from posthouse.client.http import Http

    await probe(address)
    http = Http(tls)
    try:
        reply = await http.ask("GET", f"{parse_address(address).api}/readyz", headers, None)
    finally:
        await http.close()
    try:
        return msgspec.json.decode(reply.body, type=Ready)
    except MALFORMED:
        what = f"{address} answers {reply.status}, as no node of Posthouse does."
        raise Failure(what, "Check the address.", Exit.UNREACHABLE) from None


def _text(found: "Ready") -> str:
    from posthouse.cli.listing import columns

    word, colour = ("ready", "green") if found.ready else ("not ready", "red")
    if found.degraded:
        word, colour = "degraded", "yellow"
    rows = columns([tuple(map(str, (part.name, part.state, part.reason))) for part in found.parts] or [()])
    lines = [
        click.style(row, fg=_COLOURS.get(part.state)) for row, part in zip(rows, found.parts, strict=False)
    ]
    return "\n".join([f"{click.style(word, fg=colour, bold=True)}: {found.reason}", *lines])
