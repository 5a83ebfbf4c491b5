"""The detector: dead, slow, suspect or live; and whether the one who judges can be trusted."""

import random

import pytest

from posthouse.health.detector import DISTRUST_MAX, Detector, State


class Watch:
    """A detector that is ticked each second, with subjects that beat each second while they are told to."""

    def __init__(self, *subjects: str) -> None:
        self.now = 100.0
        self.detector = Detector(self.now)
        self.beating = dict.fromkeys(subjects, True)
        self.answer_ms = 1.0
        for subject in subjects:
            self.detector.expect(subject, self.now, 1.0)

    def run(self, seconds: float, lag_ms: float = 0.0) -> None:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            if round(self.now * 10) % 10 == 0:
                for subject in [name for name, beats in self.beating.items() if beats]:
                    self.detector.heard(subject, self.now, self.answer_ms)
                self.detector.tick(self.now, lag_ms)

    def freeze(self, seconds: float) -> None:
        """This node does not run: nothing is heard, nothing is ticked."""
        self.now += seconds
        self.detector.tick(self.now, 0.0)

    def state(self, subject: str = "a", slow_ms: float = 500.0) -> State:
        return self.detector.verdict(subject, self.now, slow_ms).state


def test_who_beats_is_live() -> None:
    watch = Watch("a")
    watch.run(60)
    assert watch.detector.verdict("a", watch.now) == (State.LIVE, "it answers")


def test_who_falls_silent_is_suspected_then_dead_within_four_seconds() -> None:
    watch = Watch("a", "b", "c")
    watch.run(30)
    watch.beating["a"] = False
    seen = []
    for _ in range(50):
        watch.run(0.1)
        seen.append(watch.state())
    assert [state for n, state in enumerate(seen) if n == 0 or state != seen[n - 1]] == [
        State.LIVE, State.SUSPECT, State.DEAD,
    ]  # fmt: skip
    assert 2.0 < seen.index(State.SUSPECT) / 10 < 3.0
    assert 3.0 < seen.index(State.DEAD) / 10 < 4.5
    assert "nothing was heard of it for" in watch.detector.verdict("a", watch.now).reason
    assert watch.state("b") is State.LIVE


def test_who_answers_late_is_slow_and_not_dead() -> None:
    watch = Watch("a")
    watch.answer_ms = 900.0
    watch.run(30)
    assert watch.detector.verdict("a", watch.now, 500.0) == (
        State.SLOW, "it answers, but takes 900 ms; 500 are slow",
    )  # fmt: skip
    watch.answer_ms = 3.0
    watch.run(5)
    assert watch.state() is State.LIVE


def test_one_late_answer_makes_nobody_slow() -> None:
    watch = Watch("a")
    watch.run(5)
    watch.detector.heard("a", watch.now, 5_000.0)
    assert watch.state() is State.LIVE


def test_an_irregular_rhythm_is_given_longer() -> None:
    """What is unusual depends on what was usual."""
    regular, irregular = Watch("a"), Watch("a")
    chance = random.Random(7)
    regular.run(30)
    for _ in range(30):
        gap = chance.choice((0.2, 3.0))
        irregular.now += gap
        irregular.detector.tick(irregular.now, 0.0)
        irregular.detector.heard("a", irregular.now)
    for watch in (regular, irregular):
        watch.beating["a"] = False
        watch.run(5)
    assert regular.state() is State.DEAD
    assert irregular.state() is not State.DEAD


def test_a_refusal_makes_a_suspect_and_two_are_enough() -> None:
    watch = Watch("a")
    watch.run(5)
    watch.detector.failed("a", "connection refused")
    assert watch.state() is State.SUSPECT
    watch.detector.failed("a", "connection refused")
    assert watch.detector.verdict("a", watch.now) == (
        State.DEAD, "it failed 2 times in a row: connection refused",
    )  # fmt: skip
    watch.detector.heard("a", watch.now)
    assert watch.state() is State.LIVE


@pytest.mark.parametrize("seconds", [3.0, 8.0, 60.0])
def test_a_node_that_was_frozen_does_not_take_the_others_for_dead(seconds: float) -> None:
    watch = Watch("a", "b")
    watch.run(30)
    watch.freeze(seconds)
    assert watch.state("a") is State.LIVE
    assert watch.detector.distrust > 0
    watch.run(10)
    assert (watch.state("a"), watch.detector.distrust) == (State.LIVE, 0)


def test_a_lagging_node_grants_more_patience_and_says_so() -> None:
    calm, lagging = Watch("a", "b", "c"), Watch("a", "b", "c")
    calm.run(10)
    lagging.run(10, lag_ms=800.0)
    for watch, lag_ms in ((calm, 0.0), (lagging, 800.0)):
        watch.beating["a"] = False
        watch.run(6, lag_ms)
    assert calm.state() is State.DEAD
    assert lagging.state() is State.LIVE
    lagging.run(20, lag_ms=800.0)
    assert "distrusts itself, patience x8" in lagging.detector.verdict("a", lagging.now).reason
    lagging.run(20, lag_ms=800.0)
    assert lagging.state() is State.DEAD, "patience ends all the same"


def test_when_most_fall_silent_at_once_the_listener_doubts_itself() -> None:
    watch = Watch("a", "b", "c", "d")
    watch.run(10)
    watch.beating = dict.fromkeys("abc", False) | {"d": True}
    watch.run(5)
    assert watch.detector.distrust > 0


def test_distrust_is_bounded_and_wears_off() -> None:
    watch = Watch("a")
    watch.run(60, lag_ms=5_000.0)
    assert watch.detector.distrust == DISTRUST_MAX
    watch.run(DISTRUST_MAX)
    assert watch.detector.distrust == 0


def test_a_false_alarm_is_rare_on_a_jittery_line() -> None:
    """Ten thousand beats with delays up to 1.5 s: nobody is declared dead."""
    watch, chance = Watch("a"), random.Random(1)
    verdicts = []
    for _ in range(10_000):
        due = watch.now + 1.0 + chance.expovariate(4.0)
        while watch.now + 1.0 < due:
            watch.now += 1.0
            watch.detector.tick(watch.now, 0.0)
        watch.now = due
        verdicts.append(watch.state())
        watch.detector.heard("a", watch.now)
        watch.detector.tick(watch.now, 0.0)
    assert State.DEAD not in verdicts


def test_who_left_in_good_order_is_no_longer_judged() -> None:
    watch = Watch("a")
    watch.detector.forget("a")
    assert watch.detector.verdict("a", watch.now) == (State.SUSPECT, "nothing was heard of it yet")
