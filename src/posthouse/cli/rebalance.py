"""`posthouse rebalance`: even out the sessions of all nodes, or say what would be moved."""

import click

from posthouse.cli.operator import Operator, operating
from posthouse.cli.output import Output, json_option, pass_output


@click.command(short_help="Even out the sessions of all nodes.")
@click.option("--dry-run", is_flag=True, help="Only say what would be moved.")
@operating
@json_option
@pass_output
def rebalance(output: Output, operator: Operator, dry_run: bool) -> None:
    """Even out the sessions of all nodes.

    Nodes do so by themselves unless rebalance.automatic is false. Each sends away what exceeds its fair share, slowly;
    a session that was moved lately stays.
    """
    from posthouse.api.cluster import Rebalance, Rebalanced

    done = operator.post("rebalance", Rebalance(dry_run=dry_run), Rebalanced)
    for move in done.moves:
        output.emit(move, f"{move.sessions} to move: {move.reason}.")
    if dry_run:
        output.note("Nothing was moved.")
