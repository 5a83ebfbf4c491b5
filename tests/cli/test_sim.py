"""`posthouse sim` plays seeds, counts them, and names those that fail."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from posthouse.cli.failure import Exit
from posthouse.cli.root import root
from posthouse.testing.simulation import seeds
from posthouse.testing.simulation.seeds import Outcome
from spec.promises import recorded

EVENTS = ("3 s: crash node", "4 s: ann joins")


def playing(monkeypatch: pytest.MonkeyPatch, *failing: int) -> None:
    def outcomes(first: int, count: int, jobs: int) -> Iterator[Outcome]:
        for seed in range(first, first + count):
            failures = ("G1 all 5: it is not in the log",) if seed in failing else ()
            yield Outcome(seed, 240, 239, 1000, EVENTS[:1], EVENTS, failures, 1, 40.0)

    monkeypatch.setattr(seeds, "outcomes", outcomes)


def test_seeds_are_played_and_counted() -> None:
    result = CliRunner().invoke(root, ["sim", "--seeds", "2", "--jobs", "1", "--json"])
    assert result.exit_code == Exit.OK, result.output
    told = json.loads(result.stdout)
    assert (told["seeds"], told["violations"], told["failed_seeds"]) == (2, 0, [])
    assert told["sends"] >= 400
    assert told["faults"] >= 10


def test_a_seed_that_fails_is_named_with_what_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    playing(monkeypatch, 7)
    result = CliRunner().invoke(root, ["sim", "--seeds", "1", "--first", "7"])
    assert result.exit_code == Exit.CHECKS_FAILED
    assert "seed 7 fails" in result.output
    assert "G1 all 5" in result.output
    assert "crash node" in result.output
    assert "ann joins" in result.output


def test_the_record_says_how_many_seeds_were_played_also_when_some_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    playing(monkeypatch, 7)
    file = tmp_path / "sim.json"
    result = CliRunner().invoke(root, ["sim", "--seeds", "20", "--record", str(file)])
    assert result.exit_code == Exit.CHECKS_FAILED
    (row,) = recorded.rows(recorded.load(tmp_path).sim)
    assert (row.first, row.seeds, row.acked, row.faults, row.failed_seeds) == (0, 20, 20 * 239, 20, [7])


def test_other_seeds_stay_in_the_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    playing(monkeypatch)
    for first in ("0", "100", "0"):
        CliRunner().invoke(
            root, ["sim", "--seeds", "1", "--first", first, "--record", str(tmp_path / "sim.json")]
        )
    assert [row.first for row in recorded.rows(recorded.load(tmp_path).sim)] == [100, 0]
