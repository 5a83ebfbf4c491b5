"""The page of guarantees is current, and what is malformed is told in a sentence."""

from pathlib import Path

import pytest

from spec import guarantees
from tests.spec.promises.records import record, simulated


def test_the_page_is_current() -> None:
    assert guarantees.main(["--check"]) == 0, "run `make generate` and commit docs/guarantees.md"


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the records of a repository that is like this one otherwise, and has no page yet."""
    for name in ("spec", "tests", "src"):
        (tmp_path / name).symlink_to(guarantees.ROOT / name)
    monkeypatch.setattr(guarantees, "ROOT", tmp_path)
    return tmp_path / "docs/proof"


def test_a_new_record_makes_the_page_stale_until_it_is_generated(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarantees.main([]) == 0
    assert guarantees.main(["--check"]) == 0
    record(records, "sim", simulated())
    assert guarantees.main(["--check"]) == 1
    assert "stale: docs/guarantees.md" in capsys.readouterr().out
    assert guarantees.main([]) == 0
    assert "2,399,000" in (records.parent / "guarantees.md").read_text("utf-8")


def test_a_malformed_record_is_told_and_the_page_stays(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarantees.main([]) == 0
    before = (records.parent / "guarantees.md").read_text("utf-8")
    record(records, "sim", simulated(seeds="all"))
    assert guarantees.main([]) == 2
    assert "sim.json does not hold records: Expected `int`, got `str`" in capsys.readouterr().err
    assert (records.parent / "guarantees.md").read_text("utf-8") == before
