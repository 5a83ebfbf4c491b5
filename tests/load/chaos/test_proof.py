"""The file of rows: with the machine, and without losing the rows of scenarios that were not run this time."""

import msgspec

from posthouse.load.chaos.proof import Proof
from posthouse.load.chaos.running import skipped
from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.load.chaos.site import Load


def proof(*names: str, reason: str = "not today") -> Proof:
    made = Proof(Load(), 3, 2, 1)
    made.recordings += [skipped(SCENARIOS[name], reason) for name in names]
    return made


def test_it_names_the_machine_the_programs_and_the_load() -> None:
    told = msgspec.json.decode(proof("kill-node").rows())
    assert told["machine"]["cpus"] > 0
    assert {"python", "patroni", "postgresql", "etcd", "valkey"} <= told["machine"]["versions"].keys()
    assert told["load"] == {"rate": 500.0, "clients": 300, "nodes": 3, "databases": 2, "runs": 1}
    assert told["rows"][0]["verdict"] == "skipped"
    assert told["made_at"].endswith("Z")


def test_rows_of_other_scenarios_stay_and_those_run_again_are_replaced() -> None:
    before = proof("kill-node", "wipe-cache", reason="last week").rows()
    rows = msgspec.json.decode(proof("wipe-cache", "kill-etcd").rows(before))["rows"]
    assert {row["scenario"]: row["reason"] for row in rows} == {
        "kill-node": "last week",
        "wipe-cache": "not today",
        "kill-etcd": "not today",
    }


def test_the_page_says_where_it_was_made() -> None:
    assert " cores and " in proof("kill-node").page()
