"""Records are read as what they should be, and what is malformed is told with its place."""

from pathlib import Path

import pytest

from posthouse.load.chaos.recording import summary
from posthouse.load.chaos.running import skipped
from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.testing.records import Malformed
from spec.promises import recorded
from tests.spec.promises.records import broken, measured, record, simulated, soaked


def test_what_was_not_run_has_no_records(tmp_path: Path) -> None:
    assert recorded.load(tmp_path / "nowhere") == recorded.Proof([], [], [], [], [])


def test_what_commands_record_is_read(tmp_path: Path) -> None:
    record(tmp_path, "sim", simulated())
    record(tmp_path, "soak", soaked())
    record(
        tmp_path, "mutants", {"name": "a", "promise": "G1", "hazard": "h", "caught_by": "test_a", "seeds": 0}
    )
    record(tmp_path, "chaos", summary(skipped(SCENARIOS["kill-node"], "not today")), broken("kill-etcd"))
    record(tmp_path, "bench", measured("fanout"))
    proof = recorded.load(tmp_path)
    assert [len(records) for records in proof] == [1, 1, 1, 1, 1]
    assert [row.verdict for row in recorded.rows(proof.chaos)] == ["skipped", "pass"]


@pytest.mark.parametrize(
    ("kind", "row", "told"),
    [
        ("sim", simulated(acked="many"), r"sim\.json.*Expected `int`, got `str`.*rows\[0\]\.acked"),
        ("chaos", broken("kill-node", verdict="perhaps"), r"chaos\.json.*Invalid enum value 'perhaps'"),
        ("soak", {"database": "sqlite"}, r"soak\.json.*missing required field"),
        ("mutants", {"name": "a"}, r"mutants\.json.*missing required field `caught_by`"),
    ],
)
def test_what_is_malformed_is_told_with_its_place(
    tmp_path: Path, kind: str, row: dict[str, object], told: str
) -> None:
    record(tmp_path, kind, row)
    with pytest.raises(Malformed, match=told):
        recorded.load(tmp_path)
