"""`posthouse conversations`: the user's list, newest activity first."""

import asyncio

import click

from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.reach import Reach, reaching


@click.command(short_help="List your conversations.")
@click.option("--unread", is_flag=True, help="Only those with something unread.")
@click.option(
    "--limit",
    "-n",
    metavar="N",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="At most so many.",
)
@reaching
@json_option
@pass_output
def conversations(output: Output, reach: Reach, unread: bool, limit: int) -> None:
    """List your conversations: newest activity first, with what is unread and the last entry."""
    asyncio.run(_conversations(output, reach, unread, limit))


async def _conversations(output: Output, reach: Reach, unread: bool, limit: int) -> None:
    from posthouse.cli.listing import COLUMNS, columns, row_of

    shown = []
    async with reach.client(receipts=False) as client:
        async for summary in client.conversations():
            if summary.unread or not unread:
                shown.append(summary)
            if len(shown) == limit:
                break
    if output.json:
        for summary in shown:
            output.emit(summary, "")
    elif shown:
        for line in columns([COLUMNS, *map(row_of, shown)]):
            click.echo(line)
    else:
        output.note(
            "Nothing is unread."
            if unread
            else "You have no conversations yet. Begin one: posthouse chat --with USER"
        )
