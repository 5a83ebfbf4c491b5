"""`posthouse chaos`: what there is, and names that there are not."""

import json

from posthouse.cli.failure import Exit
from tests.cli.running import run


def test_the_scenarios_are_listed_with_what_is_allowed() -> None:
    listed = [json.loads(line) for line in run("chaos", "list", "--json").stdout.splitlines()]
    budgets = {each["scenario"]: each["budget_s"] for each in listed}
    assert budgets["kill-node"] == 2.0
    assert budgets["kill-database-primary"] == 30.0
    assert "kill-node" in run("chaos", "list").stdout


def test_of_an_unknown_scenario_the_nearest_is_suggested() -> None:
    done = run("chaos", "run", "kill-nod")
    assert done.exit_code == Exit.USAGE
    assert "did you mean kill-node?" in done.stderr


def test_clients_must_fill_whole_groups() -> None:
    done = run("chaos", "run", "kill-node", "--clients", "31")
    assert done.exit_code == Exit.USAGE
    assert "31 is no multiple of 30" in done.stderr
