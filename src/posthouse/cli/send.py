"""`posthouse send`: one message, or one a line, and what they were stored as."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import click

from posthouse.cli import typed
from posthouse.cli.conv import Conv, begun
from posthouse.cli.failure import Exit, Failure
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.reach import Reach, reaching
from posthouse.cli.spans import Span

TIMEOUT_S = 30

Content = str | dict[str, object]


@click.command(short_help="Send a message, or one a line.")
@click.argument("conv", type=Conv())
@click.argument("text", required=False)
@click.option("--lines", is_flag=True, help="Send each line of standard input as a message of its own.")
@click.option("--body", metavar="JSON", help="Send this JSON object instead of a text.")
@click.option(
    "--kind", default="message", show_default=True, help="The entry's kind: message, or x.… of your own."
)
@click.option(
    "--reply-to", type=click.IntRange(0), default=0, metavar="SEQ", help="The entry that this answers."
)
@click.option("--mention", "mentions", multiple=True, metavar="USER", help="A user to call; may be repeated.")
@click.option(
    "--timeout", type=Span(), default=TIMEOUT_S, help="How long to wait for the server's word.  [default: 30]"
)
@reaching
@json_option
@pass_output
def send(
    output: Output,
    reach: Reach,
    conv: str,
    text: str | None,
    lines: bool,
    body: str | None,
    kind: str,
    reply_to: int,
    mentions: tuple[str, ...],
    timeout: int,
) -> None:
    """Send TEXT (or standard input) to the conversation CONV: an id, or @USER.

    Returns once the message is stored durably, and says as which entry.

    \b
      posthouse send --as ann @bob "Is the kettle on?"
      uptime | posthouse send --as ops status
    """
    if (text is not None) + lines + (body is not None) > 1:
        raise click.UsageError("Give one of TEXT, --lines and --body.")
    contents = typed.lines(sys.stdin.readline) if lines else _one(_content(text, body))
    options = {"kind": kind, "reply_to": reply_to, "mentions": mentions}
    asyncio.run(_send(output, reach, conv, contents, options, timeout))


async def _send(
    output: Output, reach: Reach, named: str, contents: AsyncIterator[Content], options: Any, timeout_s: int
) -> None:
    """One after the other: a line is sent when the one before it is stored."""
    async with reach.client(receipts=False) as client:
        conv = await begun(client, named)
        async for content in contents:
            if not content:
                continue
            try:
                async with asyncio.timeout(timeout_s):
                    sent = await client.send(conv, content, **options)
            except TimeoutError:
                raise Failure(
                    f"No word from the server within {timeout_s} s.",
                    f"The message may be stored or not: look with `posthouse history {named}`.",
                    Exit.UNREACHABLE,
                ) from None
            record = {"conv": sent.conv, "seq": sent.seq, "at_ms": sent.at_ms, "client_id": sent.client_id}
            output.emit(record, f"stored as entry {sent.seq} of {sent.conv}")


def _content(text: str | None, body: str | None) -> Content:
    if body is not None:
        return _parsed(body)
    if text in (None, "-"):
        text = sys.stdin.read().rstrip("\n")
    if not text:
        raise click.UsageError("There is nothing to send: the text is empty.")
    return text


def _parsed(body: str) -> dict[str, object]:
    import msgspec

    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise click.BadParameter(f"this is no JSON object: {error}", param_hint="--body") from None


async def _one(content: Content) -> AsyncIterator[Content]:
    yield content
