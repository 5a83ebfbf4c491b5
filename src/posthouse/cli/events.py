"""`posthouse events`: what was decided and seen in the cluster, and why, as it happens with `--follow`."""

import asyncio
from typing import TYPE_CHECKING

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.operator import Operator, operating
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.kit.clock import SystemClock

if TYPE_CHECKING:
    from posthouse.api.operating import EventView

POLL_S = 1.0
FOLLOWED = 500
"""So many of the last ones are looked at each second; what two nodes tell out of order is still found."""


@click.command(short_help="Tell what was decided and why.")
@click.option(
    "--last", "-n", metavar="N", type=click.IntRange(1, 2_000), default=50, show_default=True, help="So many."
)
@click.option("--kind", metavar="KIND", default="", help="Only these, such as drain, readiness or node.")
@click.option("--about", metavar="NODE", default="", help="Only those that concern NODE.")
@click.option("--follow", "-f", is_flag=True, help="Go on with those that come. Ctrl-C ends it.")
@operating
@json_option
@pass_output
def events(output: Output, operator: Operator, last: int, kind: str, about: str, follow: bool) -> None:
    """Tell what was decided and seen in the cluster, and why: who came and went, was drained, treated, rebalanced.

    Each node remembers the last 2,000, its own and those of others. What begins with "would" was a dry run.

    \b
      posthouse events
      posthouse events --follow --kind remedy:drain
      posthouse events --json | jq -r 'select(.kind == "readiness") | .why'
    """
    shown = Shown(output, operator, kind, about)
    shown.show(last)
    while follow:
        asyncio.run(SystemClock().sleep(POLL_S))
        shown.follow()


class Shown:
    """Shows events, each once."""

    def __init__(self, output: Output, operator: Operator, kind: str, about: str) -> None:
        self._output = output
        self._operator = operator
        self._query = f"&kind={_quoted(kind)}&subject={_quoted(about)}"
        self._seen: set[tuple[str, int, int]] = set()
        self._away = False

    def show(self, limit: int) -> None:
        """Those that were not shown before. Raises `Failure`."""
        from posthouse.api.operating import Events

        found = self._operator.get(f"events?limit={limit}{self._query}", Events).events
        for event in found:
            if (event.node, event.incarnation, event.number) not in self._seen:
                self._output.emit(event, line_of(event))
        self._seen |= {(event.node, event.incarnation, event.number) for event in found}

    def follow(self) -> None:
        """The same again; a node that does not answer is waited for."""
        try:
            self.show(FOLLOWED)
        except Failure as failure:
            if failure.exit_code != Exit.UNREACHABLE:
                raise
            if not self._away:
                self._output.note(f"{failure.what} Waiting for it.")
            self._away = True
        else:
            self._away = False


def line_of(event: "EventView") -> str:
    """`2026-11-23 22:40:10  n1  drain  n2: why`."""
    from posthouse.cli.printable import line
    from posthouse.cli.times import local_time

    at = click.style(local_time(event.at_ms), dim=True)
    would = click.style("would: ", fg="yellow") if event.dry_run else ""
    about = "" if event.subject in ("", event.node) else f"{event.subject}: "
    return f"{at}  {event.node:12}  {click.style(f'{event.kind:12}', bold=True)}  {would}{line(about + event.why)}"


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
