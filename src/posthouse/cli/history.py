"""`posthouse history`: entries of a conversation, oldest first."""

import asyncio

import click

from posthouse.cli.conv import Conv, known
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.reach import Reach, reaching


@click.command(short_help="Show entries of a conversation.")
@click.argument("conv", type=Conv())
@click.option("--before", type=click.IntRange(1), metavar="SEQ", help="The entries before this one.")
@click.option("--after", type=click.IntRange(0), metavar="SEQ", help="The entries after this one.")
@click.option(
    "--limit",
    "-n",
    metavar="N",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="At most so many.",
)
@click.option("--all", "everything", is_flag=True, help="All there are, however many.")
@reaching
@json_option
@pass_output
def history(
    output: Output,
    reach: Reach,
    conv: str,
    before: int | None,
    after: int | None,
    limit: int,
    everything: bool,
) -> None:
    """Show the newest entries of the conversation CONV: an id, or @USER.

    Each line is an entry: its number, the time, who sent it, what it says. Oldest first.

    \b
      posthouse history --as ann @bob --limit 5
      posthouse history --as ann team --all --json | jq -r .body.text
    """
    if before is not None and after is not None:
        raise click.UsageError("Give --before to go back or --after to go forward, not both.")
    if everything and before is None:
        after = after or 0
    asyncio.run(_history(output, reach, conv, before, after, None if everything else limit))


async def _history(
    output: Output, reach: Reach, named: str, before: int | None, after: int | None, limit: int | None
) -> None:
    from posthouse.cli.listing import entry_text

    async with reach.client(receipts=False) as client:
        entries = client.history(known(named, reach.user), before=before, after=after, limit=limit)
        if after is None:
            for entry in reversed([entry async for entry in entries]):
                output.emit(entry, entry_text(entry))
        else:
            async for entry in entries:
                output.emit(entry, entry_text(entry))
