"""A crew of workers: started, restarted, killed when hung, rolled, ended; never in a loop of crashes."""

import pytest

from posthouse.health.crew import Crew, CrewRule, Do, Order, Phase


class Yard:
    """Processes that start, become ready and beat as the test says, and obey orders."""

    def __init__(self, count: int = 3, **rule: object) -> None:
        self.now = 1_000.0
        self.crew = Crew(count, CrewRule(**rule), self.now)  # type: ignore[arg-type]
        self.up: set[int] = set()
        self.silent: set[int] = set()
        self.broken: set[int] = set()
        self.deaf: set[int] = set()
        self.slow_to_start = 0.0
        self.coming: dict[int, float] = {}
        self.log: list[tuple[str, int]] = []
        self.whys: list[str] = []

    def obey(self) -> None:
        """Carry out orders until there are none."""
        while orders := self.crew.orders(self.now):
            for order in orders:
                self.log.append((order.do.value, order.worker))
                self.whys.append(order.why)
                self._carry_out(order)

    def _carry_out(self, order: Order) -> None:
        number = order.worker
        match order.do:
            case Do.START:
                self.up.add(number)
                self.silent.discard(number)
                self.crew.started(number, self.now)
                if number in self.broken:
                    self.end(number, "exit status 1")
                else:
                    self.coming[number] = self.now + self.slow_to_start
                    self.arrive()
            case Do.STOP if number not in self.deaf:
                self.end(number, "exit status 0")
            case Do.KILL:
                self.end(number, "killed by SIGKILL")

    def arrive(self) -> None:
        """Who has been starting for long enough is ready."""
        for number in [number for number, at in self.coming.items() if at <= self.now]:
            del self.coming[number]
            self.crew.ready(number, self.now)

    def end(self, number: int, status: str) -> None:
        self.up.discard(number)
        self.crew.exited(number, status, self.now)

    def live(self, seconds: float) -> None:
        """Time passes, with the supervisor looking twice a second."""
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            self.arrive()
            for number in self.up - self.silent:
                self.crew.beat(number, self.now)
            self.obey()


@pytest.fixture
def yard() -> Yard:
    yard = Yard()
    yard.obey()
    yard.log.clear()
    yard.whys.clear()
    return yard


def test_one_worker_starts_first_and_the_others_when_it_is_ready() -> None:
    crew = Crew(3, CrewRule(), 0.0)
    assert [order.worker for order in crew.orders(0.0)] == [1]
    crew.started(1, 0.0)
    assert crew.orders(1.0) == []
    crew.ready(1, 1.0)
    assert [order.worker for order in crew.orders(1.0)] == [2, 3]
    assert not crew.all_ready


def test_while_all_is_well_nothing_is_done(yard: Yard) -> None:
    yard.live(600)
    assert yard.log == []
    assert yard.crew.all_ready


def test_a_worker_that_ends_is_started_again(yard: Yard) -> None:
    yard.live(100)
    yard.end(2, "killed by SIGKILL")
    yard.live(1)
    assert yard.log == [("start", 2)]
    assert yard.whys == ["it ended: killed by SIGKILL"]


def test_a_hung_worker_is_killed_and_replaced_and_the_new_one_is_told_why(yard: Yard) -> None:
    yard.silent = {2}
    yard.live(10)
    assert yard.log == []
    yard.live(1)
    assert yard.log == [("kill", 2), ("start", 2)]
    assert yard.whys[0] == yard.whys[1] == "its event loop gave no sign of life for 10.5 s"
    assert yard.crew.all_ready


def test_of_several_that_are_silent_each_is_killed_when_the_one_before_is_replaced(yard: Yard) -> None:
    """A machine that starves silences all of them, and those that are only slow come back."""
    yard.slow_to_start, yard.silent = 5.0, {1, 2, 3}
    yard.live(11)
    assert yard.log == [("kill", 1), ("start", 1)]
    yard.live(4)
    assert yard.up == {1, 2, 3}
    assert len(yard.log) == 2
    yard.silent = {2}
    yard.live(3)
    assert yard.log[2:] == [("kill", 2), ("start", 2)], "3 gave a sign of life meanwhile"
    yard.live(10)
    assert yard.crew.all_ready


def test_one_that_hangs_is_not_spared_because_the_one_before_cannot_come_back(yard: Yard) -> None:
    yard.broken, yard.silent = {1}, {1, 2}
    yard.live(12)
    assert yard.log[:3] == [("kill", 1), ("start", 1), ("kill", 2)]
    yard.live(2)
    assert {2, 3} <= yard.up


def test_one_that_falls_over_again_and_again_is_started_ever_more_seldom(yard: Yard) -> None:
    for _ in range(7_200):
        if 2 in yard.up:
            yard.end(2, "exit status 1")
        yard.live(0.5)
    starts = yard.log.count(("start", 2))
    assert 100 < starts < 200, "an hour at 30 s each"
    assert {1, 3} <= yard.up


def test_one_that_was_steady_is_not_punished_for_its_past(yard: Yard) -> None:
    for _ in range(5):
        yard.end(2, "exit status 1")
        yard.live(10)
    yard.live(100)
    yard.end(2, "exit status 1")
    yard.log.clear()
    yard.obey()
    assert yard.log == [("start", 2)]


def test_a_worker_that_is_never_ready_ends_the_service_with_the_reason() -> None:
    yard = Yard()
    yard.broken = {1}
    yard.live(60)
    assert yard.log == [("start", 1)] * 3
    assert yard.crew.over
    assert yard.crew.failed == ("worker 1 was started 3 times and never was ready: it ended: exit status 1")


def test_one_that_cannot_come_back_does_not_take_the_others_with_it(yard: Yard) -> None:
    """Its database may be away, and come back."""
    yard.broken = {2}
    yard.end(2, "exit status 1")
    yard.live(300)
    assert {1, 3} <= yard.up
    yard.broken.clear()
    yard.live(31)
    assert yard.crew.all_ready


def test_one_that_never_becomes_ready_is_killed() -> None:
    crew = Crew(1, CrewRule(start_s=60.0, nap_s=100.0), 0.0)
    crew.orders(0.0)
    crew.started(1, 0.0)
    assert crew.orders(60.0) == []
    assert crew.orders(61.0) == [Order(Do.KILL, 1, "it was not ready after 61 s")]
    assert crew.phase(1) is Phase.KILLED


def test_stopping_asks_all_at_once_and_kills_who_does_not_end(yard: Yard) -> None:
    yard.deaf = {3}
    yard.crew.stop(yard.now)
    yard.live(1)
    assert yard.log == [("stop", 1), ("stop", 2), ("stop", 3)]
    assert yard.crew.phase(3) is Phase.STOPPING
    yard.live(70)
    assert yard.log[3:] == [("kill", 3)]
    assert yard.crew.over
    assert yard.crew.failed == ""


def test_stopping_in_turn_waits_for_each() -> None:
    yard = Yard(in_turn=True)
    yard.obey()
    yard.log.clear()
    yard.deaf = {1}
    yard.crew.stop(yard.now)
    yard.live(10)
    assert yard.log == [("stop", 1)]
    yard.end(1, "exit status 0")
    yard.live(1)
    assert yard.log == [("stop", 1), ("stop", 2), ("stop", 3)]
    assert yard.crew.over


def test_nothing_is_started_any_more_while_stopping(yard: Yard) -> None:
    yard.broken = {2}
    yard.end(2, "exit status 1")
    yard.live(1)
    yard.crew.stop(yard.now)
    yard.live(100)
    assert yard.crew.over


def test_rolling_restarts_one_after_the_other(yard: Yard) -> None:
    yard.crew.roll()
    yard.live(10)
    assert yard.log == [("stop", 1), ("start", 1), ("stop", 2), ("start", 2), ("stop", 3), ("start", 3)]


def test_a_roll_ends_at_the_first_that_does_not_come_back(yard: Yard) -> None:
    yard.broken = {1}
    yard.crew.roll()
    yard.live(60)
    assert ("stop", 2) not in yard.log
    assert {2, 3} <= yard.up


def test_a_supervisor_that_was_frozen_kills_nobody(yard: Yard) -> None:
    yard.now += 120.0
    yard.obey()
    assert yard.log == []
    yard.live(60)
    assert yard.log == []
