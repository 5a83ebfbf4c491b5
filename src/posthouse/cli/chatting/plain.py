"""`posthouse chat` without a terminal: lines in from standard input, lines out as they enter the log; no editing."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from posthouse.cli import typed
from posthouse.cli.chatting.layout import plain, rows_of
from posthouse.cli.chatting.transcript import Line, Mark, Transcript

UNWRAPPED = 1_000_000
"""Columns: lines are not wrapped."""


class Plain:
    """A transcript as a stream of lines; remarks go to standard error."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Nothing to prepare, nothing to put back."""
        yield
        self.refresh()

    async def typed(self) -> AsyncIterator[str]:
        """Standard input, line by line, to its end."""
        async for line in typed.lines(sys.stdin.readline):
            yield line

    async def wait_left(self) -> None:
        """Nobody leaves before the end of their input."""
        await asyncio.Event().wait()

    def show(self, transcript: Transcript) -> None:
        """Go on with another transcript."""
        self.refresh()
        self.transcript = transcript

    def refresh(self) -> None:
        """Print what is new."""
        for line in self.transcript.settle(0, _one_row):
            click.echo(plain(rows_of(line, Mark.NONE, UNWRAPPED)), err=line.aside)
        sys.stdout.flush()


def _one_row(_: Line) -> int:
    return 1
