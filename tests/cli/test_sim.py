"""`posthouse sim` plays seeds, counts them, and names those that fail."""

import json

import pytest
from click.testing import CliRunner

from posthouse.cli.failure import Exit
from posthouse.cli.root import root
from posthouse.testing.simulation import seeds
from posthouse.testing.simulation.seeds import Outcome


def test_seeds_are_played_and_counted() -> None:
    result = CliRunner().invoke(root, ["sim", "--seeds", "2", "--jobs", "1", "--json"])
    assert result.exit_code == Exit.OK, result.output
    told = json.loads(result.stdout)
    assert (told["seeds"], told["violations"], told["failed_seeds"]) == (2, 0, [])
    assert told["sends"] >= 400
    assert told["faults"] >= 10


def test_a_seed_that_fails_is_named_with_what_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    events = ("3 s: crash node", "4 s: ann joins")
    broken = Outcome(7, 240, 240, 1000, events[:1], events, ("G1 all 5: it is not in the log",), 1, 40.0)
    monkeypatch.setattr(seeds, "outcomes", lambda *_: iter([broken]))
    result = CliRunner().invoke(root, ["sim", "--seeds", "1"])
    assert result.exit_code == Exit.CHECKS_FAILED
    assert "seed 7 fails" in result.output
    assert "G1 all 5" in result.output
    assert "crash node" in result.output
    assert "ann joins" in result.output
