"""`posthouse chat`: a line chat in the terminal, that keeps what is typed while the server is away."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, pass_output
from posthouse.cli.reach import Reach, reaching

if TYPE_CHECKING:
    from posthouse.cli.chatting.talk import Screen, Talk
    from posthouse.client import Client

OUTBOXES_MAX = 9
"""Chats of one user that run at once on this installation."""


@click.command
@click.option("--with", "partner", metavar="USER", help="Chat with this user.")
@click.option("--group", metavar="ID", help="Chat in this conversation.")
@click.option("--new-group", metavar="TITLE", help="Begin a group, and chat there.")
@click.option("--members", metavar="USER,USER…", default="", help="Who is in the new group besides you.")
@reaching
@pass_output
def chat(
    output: Output,
    reach: Reach,
    partner: str | None,
    group: str | None,
    new_group: str | None,
    members: str,
) -> None:
    """Chat in the terminal.

    What you write while the server is away is kept in a file, and sent when it is back, also by a later chat.
    /help lists the commands; Ctrl-D ends.

    \b
      posthouse chat --as ann --with bob
      posthouse chat --as ann --new-group "Tea" --members bob,carol
    """
    if output.json:
        raise click.UsageError(
            "A chat is for people. Programs have `posthouse send` and `posthouse tail` with --json."
        )
    where = Where(partner, group, new_group, tuple(user for user in members.split(",") if user))
    if sum(given is not None for given in where[:3]) != 1:
        raise click.UsageError("Give one of --with USER, --group ID and --new-group TITLE.")
    if members and new_group is None:
        raise click.UsageError("--members is for --new-group.")
    asyncio.run(_chat(reach, where))


class Where(NamedTuple):
    """The conversation to chat in: one of the first three."""

    partner: str | None
    group: str | None
    new_group: str | None
    members: tuple[str, ...]


async def _chat(reach: Reach, where: Where) -> None:
    from posthouse.cli.chatting.talk import Talk
    from posthouse.kit.clock import SystemClock

    async with _client(reach) as client:
        left_over = client.statistics().unacknowledged
        talk = Talk(client, SystemClock())
        screen = _screen(reach.user, talk)
        conv = await _begin(client, where)
        if where.new_group is not None:
            click.echo(f"Its members chat with: posthouse chat --group {conv}", err=True)
        if left_over:
            click.echo(
                f"{_messages(left_over)} of last time {'is' if left_over == 1 else 'are'} sent now.", err=True
            )
        await talk.run(screen, conv)
        _say_what_is_left(client)


@asynccontextmanager
async def _client(reach: Reach) -> AsyncIterator["Client"]:
    """A client with an outbox of its own: chats of one user at once are different devices."""
    from posthouse.client import StoreInUse

    async with AsyncExitStack() as stack:
        for number in range(1, OUTBOXES_MAX + 1):
            outbox = reach.outbox.with_name(f"{reach.outbox.name}-{number}.outbox")
            try:
                client = await stack.enter_async_context(reach.client(store=outbox))
            except StoreInUse:
                continue
            yield client
            return
    raise Failure(f"{reach.user} has {OUTBOXES_MAX} chats open here already.", "End one of them first.")


def _screen(me: str, talk: "Talk") -> "Screen":
    if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from posthouse.cli.chatting.terminal import Terminal

        return Terminal(me, talk.transcript, talk.status)
    from posthouse.cli.chatting.plain import Plain

    return Plain(talk.transcript)


async def _begin(client: "Client", where: Where) -> str:
    """The conversation's id, once it exists."""
    if where.partner is not None:
        return (await client.direct(where.partner)).conv
    if where.new_group is not None:
        return (await client.create_group(where.new_group, where.members)).conv
    return where.group or ""


def _say_what_is_left(client: "Client") -> None:
    left = client.statistics().unacknowledged
    if left:
        raise Failure(
            f"{_messages(left)} could not be sent yet.",
            "Kept here, and sent by the next `posthouse chat`.",
            Exit.UNREACHABLE,
        )


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
