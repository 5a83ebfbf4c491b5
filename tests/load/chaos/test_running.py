"""From what clients saw in several runs to one recording."""

import random
from collections.abc import Sequence
from typing import Self

import msgspec

from posthouse.load.chaos.crew import Second
from posthouse.load.chaos.recording import Mark, Moment
from posthouse.load.chaos.running import (
    Chaos,
    Look,
    Run,
    breaches_of,
    fault_of,
    moments_of,
    recording_of,
    recovered_s,
    skipped,
    told_of,
    worst_of,
)
from posthouse.load.chaos.scenario import Window
from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.load.chaos.site import Load
from posthouse.testing.history import Verdict
from posthouse.testing.playground.cluster import LocalCluster
from posthouse.testing.playground.plan import Plan, Refused

GOOD = Run(
    verdict=Verdict(sent=10, acked=10),
    pauses=[0.1] * 99 + [0.5],
    breaches=[],
    moments=[Moment(0.0, 5, 50)],
    marks=[Mark(1.0, "killed: node-2")],
    seconds=30.0,
    recovered_s=1.0,
    quiet=[0.05] * 100,
    waits=[0.2] * 100,
    detected_s=0.7,
    budget_s=2.0,
)
SCENARIO = SCENARIOS["kill-node"]


def test_all_runs_count_and_the_timeline_is_that_of_the_worst_one() -> None:
    worse = GOOD._replace(pauses=[0.2] * 95 + [1.5] * 5, moments=[Moment(0.0, 1, 1)], recovered_s=3.0)
    recording = recording_of(SCENARIO, [GOOD, worse, GOOD], Load(clients=100))
    assert recording.acked == 30
    assert recording.pause_p99_s == 1.5
    assert recording.pause_max_s == 1.5
    assert recording.quiet_p99_s == 0.05
    assert recording.recovered_s == 3.0
    assert recording.timeline == (Moment(0.0, 1, 1),)
    assert recording.verdict == "pass"


def test_one_run_in_which_a_few_wait_too_long_fails_whatever_the_others_are_like() -> None:
    few = GOOD._replace(pauses=[0.1] * 98 + [2.5] * 2, moments=[Moment(0.0, 1, 1)])
    recording = recording_of(SCENARIO, [GOOD, few, GOOD], Load(clients=100))
    assert (recording.pause_p99_s, recording.verdict) == (2.5, "fail")
    assert recording.timeline == (Moment(0.0, 1, 1),)


def test_the_worst_run_is_the_one_that_used_most_of_what_it_was_allowed() -> None:
    narrow = GOOD._replace(pauses=[3.0] * 100, budget_s=2.0)
    wide = GOOD._replace(pauses=[20.0] * 100, budget_s=30.0)
    recording = recording_of(SCENARIO._replace(varied=True), [wide, narrow, wide], Load())
    assert (recording.pause_p99_s, recording.budget_s, recording.verdict) == (3.0, 2.0, "fail")
    assert recording.pause_max_s == 20.0


def test_it_is_found_when_every_run_has_found_it() -> None:
    assert recording_of(SCENARIO, [GOOD, GOOD._replace(detected_s=1.5)], Load()).detected_s == 1.5
    assert recording_of(SCENARIO, [GOOD, GOOD._replace(detected_s=None)], Load()).detected_s is None


def test_of_windows_that_are_allowed_the_same_the_worst_is_reported_and_of_others_what_they_exceed() -> None:
    looks = [
        look(Window("both ways", 0, 9, 3.0), 1.0),
        look(Window("one way", 0, 9, 3.0), 2.0),
        look(Window("others", 0, 9, 1.0, "b"), 1.5),
    ]
    worst = worst_of(looks, SCENARIO)
    assert worst.window.what == "one way"
    assert breaches_of(looks, worst) == ["others: p99 1.5 s, allowed 1 s"]


def test_where_every_window_has_its_own_budget_the_one_that_used_most_of_it_is_reported() -> None:
    looks = [look(Window("kill", 0, 9, 2.0), 1.9), look(Window("freeze", 0, 9, 8.0), 4.0)]
    worst = worst_of(looks, SCENARIO._replace(varied=True))
    assert worst.window.what == "kill"
    varied = recording_of(SCENARIO._replace(varied=True), [GOOD._replace(budget_s=8.0)], Load(seed=7))
    assert (varied.budget_s, varied.seed) == (8.0, 7)


def test_sends_that_wait_longer_than_they_may_break_it() -> None:
    window = Window("cut", 0, 9, 3.0, sends_s=5.0)
    slow, fast = look(window, 1.0, waits=[6.0]), look(window, 1.0, waits=[4.0])
    assert breaches_of([slow], slow) == ["cut: sends waited 6.0 s (p99), allowed 5 s"]
    assert breaches_of([fast], fast) == []


def test_what_cannot_be_run_says_why_and_counts_nothing() -> None:
    recording = skipped(SCENARIO, "there is no disk")
    assert (recording.verdict, recording.reason, recording.acked) == ("skipped", "there is no disk", 0)


class Broken(LocalCluster):
    """One that never comes up."""

    closed = 0

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __enter__(self) -> Self:
        raise Refused("no port is free")

    def __exit__(self, *_: object) -> None:
        Broken.closed += 1


async def test_a_scenario_that_breaks_off_fails_and_leaves_no_cluster_behind() -> None:
    chaos = Chaos(Plan(), Load(), lambda told: None, Broken)
    recording = await chaos.record(SCENARIO, 3)
    assert recording.verdict == "fail"
    assert recording.breaches == ("Run 1 broke off: no port is free",)
    chaos.close()
    assert Broken.closed == 1


async def test_what_the_machine_does_not_allow_is_skipped_before_a_cluster_comes_up() -> None:
    chaos = Chaos(Plan(), Load(), lambda told: None, Broken)
    recording = await chaos.record(SCENARIO._replace(missing=lambda: "there is no disk"), 3)
    assert recording.verdict == "skipped"


def look(window: Window, pause: float, waits: Sequence[float] = ()) -> Look:
    return Look(window, [pause] * 100, list(waits))


def test_one_bad_run_fails_the_scenario() -> None:
    lossy = GOOD._replace(verdict=Verdict(sent=10, acked=10, lost=1))
    breached = GOOD._replace(breaches=["thawed: p99 3.0 s, allowed 2 s"])
    slow = GOOD._replace(pauses=[2.1] * 100)
    for bad in (lossy, breached, slow):
        assert recording_of(SCENARIO, [GOOD, bad, GOOD], Load()).verdict == "fail"


def test_a_run_that_never_recovered_fails_and_leaves_open_when_the_others_did() -> None:
    recording = recording_of(SCENARIO, [GOOD, GOOD._replace(recovered_s=None)], Load())
    assert recording.recovered_s is None
    assert recording.verdict == "fail"
    assert recording.breaches == (
        "Clients together were never again given what they were before the fault, for three seconds.",
    )


def test_a_fault_that_no_node_tells_of_fails_where_it_must_be_told() -> None:
    blind = GOOD._replace(detected_s=None)
    recording = recording_of(SCENARIO, [GOOD, blind], Load())
    assert recording.verdict == "fail"
    assert recording.breaches == ("No node's events have told of the fault.",)
    assert recording_of(SCENARIO._replace(sign=""), [GOOD, blind], Load()).verdict == "pass"


def test_the_sign_is_one_of_the_first_fault_unless_another_window_says_so() -> None:
    first, second = Window("one way", 0, 9, 3.0), Window("the cache", 9, 20, 3.0)
    assert told_of([first, second]) == first
    assert told_of([first, second._replace(shown=True)]).what == "the cache"


def test_what_workers_saw_in_a_second_is_added_up_and_the_unfinished_second_left_out() -> None:
    ours = {100: Second(acked=1, delivered=2, latency_us={10_000: 1}, connected=3), 101: Second(acked=9)}
    theirs = {100: Second(acked=10, delivered=20, latency_us={30_000: 1}, refused=4, connected=30)}
    assert moments_of([ours, theirs], begun=98.5) == [
        Moment(at_s=1.5, acked=11, delivered=22, p50_ms=10.0, p99_ms=30.0, refused=4, connected=33)
    ]


def test_it_has_recovered_when_deliveries_are_what_they_were_for_three_seconds() -> None:
    delivered = [100, 100, 100, 100, 100, 100, 20, 0, 90, 10, 85, 200, 90, 100, 100]
    moments = [Moment(float(at), 10, count) for at, count in enumerate(delivered)]
    assert recovered_s(moments, 6.0, 6.0) == 4.0
    assert recovered_s(moments[:11], 6.0, 6.0) is None


def steady(chance: random.Random) -> list[Moment]:
    """A healthy run: as much in each second as before, but for noise and delays over the edge of one."""
    delivered = [7_000 * chance.uniform(0.9, 1.1) for _ in range(25)]
    for at in range(0, 24, 2):
        late = delivered[at] * chance.uniform(0.0, 0.45)
        delivered[at : at + 2] = delivered[at] - late, delivered[at + 1] + late
    return [Moment(float(at), 500, round(count)) for at, count in enumerate(delivered)]


def test_what_only_wavers_has_recovered_soon() -> None:
    for seed in range(1_000):
        recovered = recovered_s(steady(random.Random(seed)), 8.0, 8.0)
        assert recovered is not None, seed
        assert recovered <= 10, seed


def test_a_burst_of_what_was_held_back_is_no_recovery() -> None:
    delivered = [100] * 8 + [300, 0, 0, 300, 0, 50] * 3
    moments = [Moment(float(at), 10, count) for at, count in enumerate(delivered)]
    assert recovered_s(moments, 8.0, 8.0) is None


def test_less_than_was_usual_is_no_recovery() -> None:
    moments = [Moment(float(at), 10, 100 if at < 8 else 75) for at in range(60)]
    assert recovered_s(moments, 8.0, 8.0) is None


def test_where_nothing_was_delivered_before_the_fault_nothing_can_recover() -> None:
    moments = [Moment(float(at), 0, 0) for at in range(30)]
    assert recovered_s(moments, 8.0, 8.0) is None


def test_what_is_usual_is_so_before_the_first_fault_and_not_while_another_one_lasts() -> None:
    delivered = [100] * 8 + [10] * 20 + [50] * 3 + [100] * 5
    moments = [Moment(float(at), 10, count) for at, count in enumerate(delivered)]
    assert recovered_s(moments, 28.0, 8.0) == 3.0


def test_times_begin_with_the_fault_that_a_window_is_about() -> None:
    marks = [
        (30.0, Mark(0.0, "killed: node-2")),
        (42.0, Mark(0.0, "started: node-2", "repair")),
        (50.0, Mark(0.0, "killed: node-3")),
        (20.0, Mark(0.0, "frozen: node-1")),
        (12.0, Mark(0.0, "nothing was done yet", "note")),
    ]
    assert fault_of(Window("both", 20.0, 48.0, 2.0), marks) == 20.0
    assert fault_of(Window("a later fault in the middle of it", 45.0, 60.0, 2.0), marks) == 50.0
    assert fault_of(Window("from the repair on", 42.0, 48.0, 2.0), marks) == 20.0
    assert fault_of(Window("no faults", 7.0, 48.0, 2.0), marks[-1:]) == 7.0


def test_every_scenario_says_what_it_does() -> None:
    for name, scenario in SCENARIOS.items():
        assert name == scenario.name
        assert scenario.title
        assert scenario.story.endswith(".")
        assert scenario.budget_s > 0


def test_seconds_pass_between_processes_as_json() -> None:
    told = {100: Second(acked=1, latency_us={10_000: 2})}
    assert msgspec.json.decode(msgspec.json.encode(told), type=dict[int, Second], strict=False) == told
