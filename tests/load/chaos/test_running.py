"""From what clients saw in several runs to one recording."""

import msgspec

from posthouse.load.chaos.crew import Second
from posthouse.load.chaos.recording import Mark, Moment
from posthouse.load.chaos.running import Run, moments_of, recording_of, recovered_s
from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.load.chaos.site import Load
from posthouse.testing.history import Verdict

GOOD = Run(
    verdict=Verdict(sent=10, acked=10),
    pauses=[0.1] * 99 + [0.5],
    breaches=[],
    moments=[Moment(0.0, 5, 50)],
    marks=[Mark(1.0, "killed: node-2")],
    seconds=30.0,
    recovered_s=1.0,
    quiet=[0.05] * 100,
)
SCENARIO = SCENARIOS["kill-node"]


def test_all_runs_count_and_the_timeline_is_that_of_the_longest_pause() -> None:
    worse = GOOD._replace(pauses=[0.2] * 95 + [1.5] * 5, moments=[Moment(0.0, 1, 1)], recovered_s=3.0)
    recording = recording_of(SCENARIO, [GOOD, worse, GOOD], Load(clients=100))
    assert recording.acked == 30
    assert recording.pause_p99_s == 1.5
    assert recording.pause_max_s == 1.5
    assert recording.quiet_p99_s == 0.05
    assert recording.recovered_s == 3.0
    assert recording.timeline == (Moment(0.0, 1, 1),)
    assert recording.verdict == "pass"


def test_one_bad_run_fails_the_scenario() -> None:
    lossy = GOOD._replace(verdict=Verdict(sent=10, acked=10, lost=1))
    breached = GOOD._replace(breaches=["thawed: p99 3.0 s, allowed 2 s"])
    slow = GOOD._replace(pauses=[2.1] * 100)
    for bad in (lossy, breached, slow):
        assert recording_of(SCENARIO, [GOOD, bad, GOOD], Load()).verdict == "fail"


def test_a_run_that_never_recovered_leaves_open_when_the_others_did() -> None:
    assert recording_of(SCENARIO, [GOOD, GOOD._replace(recovered_s=None)], Load()).recovered_s is None


def test_what_workers_saw_in_a_second_is_added_up_and_the_unfinished_second_left_out() -> None:
    ours = {100: Second(acked=1, delivered=2, latency_us={10_000: 1}, connected=3), 101: Second(acked=9)}
    theirs = {100: Second(acked=10, delivered=20, latency_us={30_000: 1}, refused=4, connected=30)}
    assert moments_of([ours, theirs], begun=98.5) == [
        Moment(at_s=1.5, acked=11, delivered=22, p50_ms=10.0, p99_ms=30.0, refused=4, connected=33)
    ]


def test_it_has_recovered_when_deliveries_are_what_they_were_for_three_seconds() -> None:
    delivered = [100, 100, 100, 100, 100, 100, 20, 0, 90, 10, 85, 200, 90, 100, 100]
    moments = [Moment(float(at), 10, count) for at, count in enumerate(delivered)]
    assert recovered_s(moments, fault_at_s=6.0) == 4.0
    assert recovered_s(moments[:11], fault_at_s=6.0) is None


def test_every_scenario_says_what_it_does() -> None:
    for name, scenario in SCENARIOS.items():
        assert name == scenario.name
        assert scenario.title
        assert scenario.story.endswith(".")
        assert scenario.budget_s > 0


def test_seconds_pass_between_processes_as_json() -> None:
    told = {100: Second(acked=1, latency_us={10_000: 2})}
    assert msgspec.json.decode(msgspec.json.encode(told), type=dict[int, Second], strict=False) == told
