"""`posthouse tail`: the entries of one conversation, or of all, as they come."""

import asyncio
from typing import TYPE_CHECKING

import click

from posthouse.cli.conv import Conv, known
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.reach import Reach, reaching

if TYPE_CHECKING:
    from posthouse.client import Client
    from posthouse.model.entry import Entry


@click.command(short_help="Follow conversations as entries come.")
@click.argument("conv", type=Conv(), required=False)
@click.option(
    "--last",
    "-n",
    metavar="N",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Begin with the last N of CONV.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N entries.")
@reaching
@json_option
@pass_output
def tail(output: Output, reach: Reach, conv: str | None, last: int, count: int | None) -> None:
    """Follow the conversation CONV (an id, or @USER), or all of yours. Ctrl-C ends it.

    What is missed while the connection is down is fetched when it is back: every entry comes, once and in order.

    \b
      posthouse tail --as ann
      posthouse tail --as ops alerts --json | jq --unbuffered -r .body.text
    """
    asyncio.run(_tail(Tail(output, count), reach, conv, last))


class Tail:
    """Shows entries, each once, until there were `count`."""

    def __init__(self, output: Output, count: int | None) -> None:
        self._output = output
        self._left = count
        self._shown: dict[str, int] = {}
        self.names: dict[str, str] = {}

    @property
    def done(self) -> bool:
        """True when as many entries were shown as were asked for."""
        return self._left == 0

    def show(self, entry: "Entry") -> None:
        """Show an entry unless it was shown."""
        from posthouse.cli.listing import entry_text

        if entry.seq <= self._shown.get(entry.conv, 0) or self.done:
            return
        self._shown[entry.conv] = entry.seq
        self._left = self._left - 1 if self._left is not None else None
        self._output.emit(entry, entry_text(entry, self.names.get(entry.conv, "")))

    def remark(self, text: str) -> None:
        """Say something about the connection."""
        self._output.note(text)


async def _tail(tail: Tail, reach: Reach, named: str | None, last: int) -> None:
    conv = known(named, reach.user) if named is not None else None
    async with reach.client(receipts=False) as client:
        if conv is not None:
            recent = [entry async for entry in client.history(conv, limit=last)] if last else []
            for entry in reversed(recent):
                tail.show(entry)
        if not tail.done:
            await _follow(tail, client, conv)


async def _follow(tail: Tail, client: "Client", conv: str | None) -> None:
    from posthouse.cli.listing import name_of
    from posthouse.client import Connected, Disconnected, EntryReceived, Resumed

    away = False
    async for event in client.events():
        match event:
            case EntryReceived() if conv in (None, event.conv):
                if conv is None and event.conv not in tail.names:
                    tail.names |= {each.conv: name_of(each) async for each in client.conversations()}
                tail.show(event.entry)
            case Disconnected() if not away:
                away = True
                tail.remark(f"reconnecting… ({event.reason})")
            case Connected() | Resumed() if away:
                away = False
                tail.remark("back")
            case _:
                pass
        if tail.done:
            return
