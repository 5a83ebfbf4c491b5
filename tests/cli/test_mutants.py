"""`posthouse mutants` says of each safeguard who noticed that it was missing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from posthouse.cli.failure import Exit
from posthouse.cli.root import root
from posthouse.testing.mutation import running
from posthouse.testing.mutation.running import Caught
from posthouse.testing.mutation.safeguards import SAFEGUARDS
from spec.promises import recorded

NAMES = ["find-repeated-sends", "queues-are-bounded"]


def catching(monkeypatch: pytest.MonkeyPatch, *found: Caught) -> None:
    monkeypatch.setattr(running, "catch_all", lambda names, *_: iter(found[: len(names)]))


def test_programs_are_given_one_object_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    catching(monkeypatch, Caught(NAMES[0], "simulation", 3), Caught(NAMES[1], "test_full"))
    result = CliRunner().invoke(root, ["mutants", *NAMES, "--json"])
    assert result.exit_code == Exit.OK, result.output
    told = json.loads(result.stdout)
    assert told["unnoticed"] == 0
    assert [(each["name"], each["caught_by"], each["seeds"]) for each in told["safeguards"]] == [
        (NAMES[0], "simulation", 3),
        (NAMES[1], "test_full", 0),
    ]
    assert all(each["hazard"] and each["promise"] for each in told["safeguards"])


def test_one_that_nobody_noticed_fails_and_stands_in_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    catching(monkeypatch, Caught(NAMES[0], ""))
    result = CliRunner().invoke(root, ["mutants", NAMES[0], "--record", str(tmp_path / "mutants.json")])
    assert result.exit_code == Exit.CHECKS_FAILED
    assert "NOT NOTICED" in result.output
    (row,) = recorded.rows(recorded.load(tmp_path).mutants)
    assert (row.name, row.caught_by, row.seeds) == (NAMES[0], "", 0)


def test_rows_of_other_safeguards_stay_in_the_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = str(tmp_path / "mutants.json")
    catching(monkeypatch, Caught(NAMES[0], "simulation", 3), Caught(NAMES[1], "test_full"))
    CliRunner().invoke(root, ["mutants", *NAMES, "--record", file])
    catching(monkeypatch, Caught(NAMES[0], "simulation", 5))
    CliRunner().invoke(root, ["mutants", NAMES[0], "--seeds", "20", "--record", file])
    records = recorded.load(tmp_path).mutants
    assert {row.name: row.seeds for row in recorded.rows(records)} == {NAMES[0]: 5, NAMES[1]: 0}
    assert [record.options for record in records] == [{"seeds_max": 300}, {"seeds_max": 20}]


def test_names_are_known_once_each() -> None:
    names = [each.name for each in SAFEGUARDS]
    assert len(set(names)) == len(names) >= 50
