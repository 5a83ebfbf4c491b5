"""Fuzzes what nodes say of themselves in the cache: a picture of the cluster, and places for clients by each policy."""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from msgspec.structs import replace

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS
from posthouse.balance.director import Director
from posthouse.balance.guards import Guards
from posthouse.balance.named import NAMES, policy
from posthouse.balance.report import LoadReport
from posthouse.cache.base import NodeRecord
from posthouse.cluster.snapshot import NOBODY, NodeReport, changes, encode_report, snapshot_of

BETWEEN = b"\n"
"""Stands between the reports of several nodes."""
NOW = 1_000.0


def check(data: bytes) -> None:
    records = [NodeRecord(f"n{at}", 1, at * 0.9, each) for at, each in enumerate(data.split(BETWEEN)[:6])]
    picture = snapshot_of(NOBODY, records, NOW)
    assert {view.node for view in picture.nodes} <= {record.node for record in records}
    assert len(changes(NOBODY, picture)) == len(picture.nodes) + 1
    assert snapshot_of(picture, records, NOW).nodes == picture.nodes
    for view in picture.present:
        again = snapshot_of(NOBODY, [NodeRecord(view.node, 1, 0.0, encode_report(view.report))], NOW)
        assert again.nodes[0].report == view.report
    for name in NAMES:
        _check_choice(name, picture.loads)


def _check_choice(name: str, loads: tuple[LoadReport, ...]) -> None:
    director = Director(policy(name), Guards())
    director.see(loads, NOW)
    ranked = director.rank(0.37, NOW)
    assert {each.target for each in ranked} <= {load.target for load in loads}
    assert bool(ranked) == bool(loads)
    shares = [each.share for each in ranked]
    assert all(math.isfinite(share) and share >= 0 for share in shares), shares
    assert not ranked or math.isclose(sum(shares), 1.0, rel_tol=1e-6), shares


_IDLE = NodeReport(node="n0", incarnation=1, up_s=90.0, load=LoadReport("n0"))
_BUSY = LoadReport(
    "n1", connections=9_000, deliveries_per_s=1e4, cpu=0.97, memory=0.9, network=0.4, loop_lag_ms=80.0, in_flight=70,
    latency_ms=12.5, errors_per_s=3.0, weight=2.0,
)  # fmt: skip
_REPORTS = [
    _IDLE,
    NodeReport(node="n1", incarnation=7, up_s=3.0, load=_BUSY, version="1.0", zone="z", api_url="http://n1",
    ready=False),
    replace(_IDLE, node="n2", draining=True),
    replace(_IDLE, node="n3", leaving=True, reason="it stops"),
]  # fmt: skip
SEEDS = [
    b"",
    *map(encode_report, _REPORTS),
    BETWEEN.join(map(encode_report, _REPORTS)),
    BETWEEN.join(encode_report(replace(_IDLE, node=f"n{at}")) for at in range(6)),
]
WORDS = [
    *JSON_WORDS, BETWEEN, b'"weight":', b'"cpu":', b'"healthy":false', b'"latency_ms":1e12',
    b'"connections":1000000000000',
    b'"node":"n1"', b'"load":{}', b'"incarnation":', b'"up_s":',
]  # fmt: skip

MODULES = ("posthouse.cluster.snapshot", "posthouse.balance.")
FUZZER = Fuzzer("node_reports", check, MODULES, SEEDS, WORDS, size_max=20_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
