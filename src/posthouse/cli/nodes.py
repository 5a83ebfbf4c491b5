"""`posthouse nodes`: who is in the cluster, how they are, and what they get of new sessions."""

from typing import TYPE_CHECKING

import click

from posthouse.cli.operator import Operator, operating
from posthouse.cli.output import Output, json_option, pass_output

if TYPE_CHECKING:
    from posthouse.api.operating import NodeStatus

HEADS = (
    "NODE", "STATE", "SESSIONS", "SHARE", "DELIV/S", "CPU", "MEM", "LAG", "WEIGHT", "SILENT", "ZONE", "VERSION", "WHY",
)  # fmt: skip
_COLOURS = {"ready": "green", "draining": "blue", "not ready": "yellow", "silent": "yellow", "gone": "red"}


@click.command(short_help="List the cluster's nodes.")
@operating
@json_option
@pass_output
def nodes(output: Output, operator: Operator) -> None:
    """List the cluster's nodes: state, sessions, load, and the share of new sessions that each gets now."""
    from posthouse.api.operating import Nodes

    found = operator.get("nodes", Nodes)
    if output.json:
        for node in found.nodes:
            output.emit(node, "")
        return
    _show(found.nodes)
    if not found.known:
        output.note(f"This is what was known before: {found.why}.")


def state_of(node: "NodeStatus") -> str:
    """One word or two for how a node is."""
    if node.presence != "live":
        return node.presence
    if node.draining:
        return "draining"
    return "ready" if node.ready else "not ready"


def row_of(node: "NodeStatus") -> tuple[str, ...]:
    """A node as a row of `HEADS`."""
    return (
        node.node,
        state_of(node),
        str(node.sessions),
        f"{node.share:.0%}",
        f"{node.deliveries_per_s:.0f}",
        f"{node.cpu:.0%}",
        f"{node.memory:.0%}",
        f"{node.loop_lag_ms:.0f} ms",
        f"{node.weight:g}",
        f"{node.silent_s:.1f} s",
        node.zone,
        node.version,
        node.why if node.presence != "live" else node.reason,
    )


def _show(found: "tuple[NodeStatus, ...]") -> None:
    from posthouse.cli.listing import columns

    head, *lines = columns([HEADS, *map(row_of, found)])
    click.echo(click.style(head, bold=True))
    for node, line in zip(found, lines, strict=True):
        click.echo(click.style(line, fg=_COLOURS[state_of(node)]))
