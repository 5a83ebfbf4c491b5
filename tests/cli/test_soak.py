"""`posthouse soak` keeps what it has found, also when something grew."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from posthouse.cli.failure import Exit
from posthouse.cli.root import root
from posthouse.load.soak import soak
from spec.promises import recorded

RESULT: dict[str, Any] = {
    "minutes": 60.0, "per_s": 60.0, "residents": 60, "nodes": 2, "sent": 9, "acked": 8, "deliveries": 70, "lost": 0,
    "duplicated": 0, "reordered": 0, "breaches": [], "overflows": 3, "figures": {}, "grown": [], "left": [],
}  # fmt: skip


def soaking(monkeypatch: pytest.MonkeyPatch, verdict: str) -> None:
    async def run(*, cluster: bool, **_: object) -> dict[str, Any]:
        return RESULT | {"database": "postgresql" if cluster else "sqlite", "verdict": verdict}

    monkeypatch.setattr(soak, "soak", run)


def test_one_that_failed_is_in_the_record_and_the_other_database_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = ["soak", "--record", str(tmp_path / "soak.json")]
    soaking(monkeypatch, "pass")
    assert CliRunner().invoke(root, command).exit_code == Exit.OK
    soaking(monkeypatch, "fail")
    assert CliRunner().invoke(root, [*command, "--cluster"]).exit_code == Exit.CHECKS_FAILED
    rows = recorded.rows(recorded.load(tmp_path).soak)
    assert {row.database: row.verdict for row in rows} == {"sqlite": "pass", "postgresql": "fail"}
    assert rows[0].overflows == 3
