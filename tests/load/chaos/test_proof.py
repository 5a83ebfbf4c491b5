"""What chaos leaves behind: a row of each scenario with the programs and the load, and the page."""

from pathlib import Path

from posthouse.load.chaos.proof import KEY, Proof, options, programs
from posthouse.load.chaos.running import skipped
from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.load.chaos.site import Load
from posthouse.testing.records import Recorder, Row, decoded


def proof(file: Path | None, *names: str, reason: str = "not today") -> Proof:
    made = Proof(Recorder(file, KEY, options(Load(), 3, 2, 1), programs()))
    for name in names:
        made.add(skipped(SCENARIOS[name], reason))
    return made


def test_the_record_names_the_programs_and_the_load(tmp_path: Path) -> None:
    proof(tmp_path / "a.json", "kill-node")
    (record,) = decoded((tmp_path / "a.json").read_bytes(), Row, "a.json")
    assert {"python", "patroni", "postgresql", "etcd", "valkey"} <= record.machine.versions.keys()
    assert record.options == {"rate": 500.0, "clients": 300, "nodes": 3, "databases": 2, "runs": 1}
    assert record.rows[0]["verdict"] == "skipped"


def test_rows_of_other_scenarios_stay_and_those_run_again_are_replaced(tmp_path: Path) -> None:
    proof(tmp_path / "a.json", "kill-node", "wipe-cache", reason="last week")
    proof(tmp_path / "a.json", "wipe-cache", "kill-etcd")
    records = decoded((tmp_path / "a.json").read_bytes(), Row, "a.json")
    assert {row["scenario"]: row["reason"] for record in records for row in record.rows} == {
        "kill-node": "last week",
        "wipe-cache": "not today",
        "kill-etcd": "not today",
    }


def test_the_page_says_where_it_was_made() -> None:
    assert " cores and " in proof(None, "kill-node").page()


def test_the_page_shows_all_that_is_in_the_record_and_who_ran_it(tmp_path: Path) -> None:
    proof(tmp_path / "a.json", "kill-node", "wipe-cache", reason="last week")
    Recorder(tmp_path / "a.json", "bench", {}).put({"bench": "send", "ratio": 0.5})
    text = proof(tmp_path / "a.json", "wipe-cache").page()
    assert text.count("<section") == 2
    assert text.count("last week") == 2, "in the table and in its section"
    assert text.count("Run by 20") == 2
