"""The race of endpoints: head starts, failures, one winner."""

from math import inf

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from posthouse.client.race import HEAD_START_S, RUNNING_MAX, Race


def test_the_second_begins_when_the_first_has_not_answered_for_a_moment() -> None:
    race = Race(["a", "b"], 5.0)
    assert race.take() == ["a"]
    assert race.due == 5.0 + HEAD_START_S
    race.advance(5.0 + HEAD_START_S / 2)
    assert race.take() == []
    race.advance(race.due)
    assert race.take() == ["b"]
    assert race.due == inf


def test_the_next_begins_at_once_when_one_fails() -> None:
    race = Race(["a", "b"], 0.0)
    race.take()
    race.fail("a", 0.01)
    assert race.take() == ["b"]
    assert not race.over
    race.fail("b", 0.02)
    assert race.over


def test_the_winner_is_told_whom_it_overtook_and_the_rest_are_out() -> None:
    race = Race(["a", "b", "c"], 0.0)
    race.advance(race.due)
    assert race.take() == ["a", "b"]
    assert race.win("b") == ["a"]
    assert race.win("a") is None
    assert race.over


def test_head_starts_grow_and_only_so_many_run_at_once() -> None:
    race = Race([str(number) for number in range(9)], 0.0)
    begun = [0.0]
    while race.due < inf:
        begun.append(race.due)
        race.advance(race.due)
    assert begun == [0.0, HEAD_START_S, 3 * HEAD_START_S]
    assert len(race.take()) == RUNNING_MAX
    race.fail("1", 60.0)
    assert race.take() == ["3"]


class Racing(RuleBasedStateMachine):
    """Whatever happens in whatever order: nobody is tried twice, nobody is forgotten, and one wins at most."""

    def __init__(self) -> None:
        super().__init__()
        self.names = [str(number) for number in range(6)]
        self.now = 0.0
        self.race = Race(self.names, self.now)
        self.told: list[str] = []
        self.failed: list[str] = []
        self.won = ""
        self.take()

    def take(self) -> None:
        self.told += self.race.take()

    def under_way(self) -> list[str]:
        return [] if self.won else [name for name in self.told if name not in self.failed]

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.race.advance(self.now)
        self.take()

    @precondition(lambda self: self.under_way())
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.under_way()))
        self.failed.append(name)
        self.race.fail(name, self.now)
        self.take()

    @precondition(lambda self: self.under_way())
    @rule(data=st.data())
    def win(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.under_way()))
        earlier = self.under_way()[: self.under_way().index(name)]
        assert self.race.win(name) == earlier
        self.won = name

    @rule(name=st.sampled_from("012345"))
    def come_late(self, name: str) -> None:
        """News of those who are no longer in the race change nothing."""
        if name not in self.under_way():
            self.race.fail(name, self.now)
            assert self.race.win(name) is None
            assert self.race.take() == []

    @invariant()
    def is_sound(self) -> None:
        assert self.told == self.names[: len(self.told)], "in order, each once"
        assert len(self.under_way()) <= RUNNING_MAX
        assert self.race.over == (bool(self.won) or len(self.failed) == len(self.names))
        if not self.race.over:
            assert self.under_way(), "somebody is always under way"


TestRacing = Racing.TestCase
TestRacing.settings = settings(max_examples=150, stateful_step_count=30)
