"""`posthouse drain`: take a node out of service without a failed send, or put it back."""

import asyncio
from typing import TYPE_CHECKING

import click

from posthouse.cli.failure import Failure
from posthouse.cli.operator import Operator, operating
from posthouse.cli.output import Output, json_option, pass_output
from posthouse.cli.spans import Span
from posthouse.kit.clock import SystemClock

if TYPE_CHECKING:
    from posthouse.api.operating import NodeStatus

POLL_S = 0.5
SLACK_S = 15.0
"""After the window: what is in flight is answered, and reports come once a second."""


@click.command(short_help="Take a node out of service, or put it back.")
@click.argument("node")
@click.option("--within", metavar="SPAN", type=Span(), default=60, show_default="60s", help="Over so long.")
@click.option("--undo", is_flag=True, help="Serve again.")
@click.option("--wait", is_flag=True, help="Return when no session is left.")
@operating
@json_option
@pass_output
def drain(output: Output, operator: Operator, node: str, within: int, undo: bool, wait: bool) -> None:
    """Take NODE out of service: it lets nobody in, and tells its clients one by one where to go.

    Sends that are under way are answered first, so that none fails. The node goes on running, without clients, until it
    is stopped or --undo is given. To restart nodes one after another, drain each with --wait.
    """
    from posthouse.api.cluster import Drain
    from posthouse.api.operating import Drained

    told = operator.post("drain", Drain(node=node, within_s=within, undo=undo), Drained)
    output.emit(told, f"{told.reason}.")
    if wait and not undo:
        _wait(output, operator, node, within + SLACK_S)


def _wait(output: Output, operator: Operator, node: str, timeout_s: float) -> None:
    clock = SystemClock()
    until, before = clock.monotonic() + timeout_s, -1
    while clock.monotonic() < until:
        found = _status(operator, node)
        if found is None or found.presence == "gone" or (found.draining and not found.sessions):
            output.emit({"node": node, "sessions": 0}, f"No session is left on {node}.")
            return
        if found.sessions != before:
            output.note(f"{found.sessions} sessions are left.")
            before = found.sessions
        asyncio.run(clock.sleep(POLL_S))
    raise Failure(
        f"{node} still has {before} sessions.", "`posthouse nodes` shows it; `posthouse events` why."
    )


def _status(operator: Operator, node: str) -> "NodeStatus | None":
    from posthouse.api.operating import Nodes

    return next((each for each in operator.get("nodes", Nodes).nodes if each.node == node), None)
