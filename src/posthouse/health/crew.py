"""What a supervisor does with its workers: a decision with its reason for everything that happens to them. Pure.

Told of events (`started`, `ready`, `beat`, `exited`) and of the time, a `Crew` gives orders: start, ask to stop, kill,
end. One worker starts first and alone, so that a wrong setting is told once and not by every worker.
"""

from enum import Enum, StrEnum
from typing import NamedTuple

import msgspec

from posthouse.kit.backoff import Backoff

LOOK_INTERVAL_S = 0.5


class Phase(StrEnum):
    """Where a worker is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    KILLED = "killed"
    GONE = "gone"


class Do(Enum):
    """What an order asks for."""

    START = "start"
    STOP = "stop"
    KILL = "kill"


class Order(NamedTuple):
    """Something to do to a worker, and one sentence of why."""

    do: Do
    worker: int
    why: str


class CrewRule(msgspec.Struct, frozen=True):
    """Times in seconds. `hung_s`: without a sign of life for so long, a worker that was ready is killed, one at a time:
    on a machine that starves all are silent, and killing them would end what they still serve."""

    hung_s: float = 10.0
    start_s: float = 60.0
    stop_s: float = 60.0
    in_turn: bool = False
    steady_s: float = 60.0
    """Who has been ready for so long starts again at once; who falls over sooner waits longer each time."""
    unready_max: int = 3
    """A worker that ends so often in a row before it ever was ready never will be."""
    backoff: Backoff = Backoff(first_s=0.2, longest_s=30.0)
    nap_s: float = 3.0
    """When the supervisor itself was away for so long, silence meanwhile says nothing about the workers."""


class _Worker:
    __slots__ = (
        "asked", "attempt", "beaten_at", "ever_ready", "hung", "number", "phase", "ready_at", "since", "start_at",
        "why",
    )  # fmt: skip

    def __init__(self, number: int, now: float) -> None:
        self.number = number
        self.phase = Phase.WAITING
        self.since = self.start_at = self.beaten_at = now
        self.ready_at: float | None = None
        self.asked = self.hung = False
        self.attempt = 0
        self.ever_ready = False
        self.why = "the service starts"


class Crew:
    """The workers 1 to `count`. `over` is True when all are gone for good, `failed` says why if that is a failure."""

    def __init__(self, count: int, rule: CrewRule, now: float) -> None:
        self.rule = rule
        self.stopping = False
        self.failed = ""
        self._workers = {number: _Worker(number, now) for number in range(1, count + 1)}
        self._looked_at = now
        self._to_roll: list[int] = []
        self._rolling = 0

    @property
    def over(self) -> bool:
        """Nothing is left to do."""
        return self.stopping and all(each.phase is Phase.GONE for each in self._workers.values())

    @property
    def all_ready(self) -> bool:
        """Every worker serves."""
        return all(each.phase is Phase.READY for each in self._workers.values())

    def phase(self, number: int) -> Phase:
        """Where a worker is."""
        return self._workers[number].phase

    # Events -------------------------------------------------------------------------------------------------------

    def started(self, number: int, now: float) -> None:
        """Its process runs."""
        self._enter(number, Phase.STARTING, now)
        self._workers[number].ready_at, self._workers[number].asked = None, False

    def ready(self, number: int, now: float) -> None:
        """It serves clients."""
        worker = self._workers[number]
        if worker.phase is Phase.STARTING:
            self._enter(number, Phase.READY, now)
            worker.ready_at = worker.beaten_at = now
            worker.ever_ready, worker.hung = True, False

    def beat(self, number: int, now: float) -> None:
        """Its event loop turns."""
        self._workers[number].beaten_at = now

    def exited(self, number: int, status: str, now: float) -> None:
        """Its process has ended: `status` in words."""
        worker = self._workers[number]
        if self.stopping:
            self._enter(number, Phase.GONE, now)
            return
        if worker.asked:
            self._wait(worker, worker.why, 0, now)
            return
        why = worker.why if worker.phase is Phase.KILLED else f"it ended: {status}"
        if worker.ready_at is None:
            self._unready(worker, why, now)
        else:
            steady = now - worker.ready_at >= self.rule.steady_s
            self._wait(worker, why, 0 if steady else worker.attempt + 1, now)

    def stop(self, now: float) -> None:
        """End all workers."""
        if not self.stopping:
            self.stopping = True
            for worker in self._workers.values():
                if worker.phase is Phase.WAITING:
                    self._enter(worker.number, Phase.GONE, now)

    def roll(self) -> None:
        """Restart all workers, one after the other, each when the one before is ready."""
        self._to_roll = list(self._workers)

    # Orders -------------------------------------------------------------------------------------------------------

    def orders(self, now: float) -> list[Order]:
        """What must be done now. To be asked after every event, and now and then."""
        self._forgive(now)
        orders = [order for worker in self._workers.values() for order in self._late(worker, now)]
        if self.stopping:
            return orders + self._stops(now)
        return orders + self._starts(now) + self._rolls(now)

    def pause_s(self, now: float) -> float:
        """After so long to ask for orders again."""
        due = [each.start_at - now for each in self._workers.values() if each.phase is Phase.WAITING]
        return max(0.0, min([*due, LOOK_INTERVAL_S]))

    @property
    def _one_is_replaced(self) -> bool:
        """A hung worker was killed, and neither is another one ready in its place nor has that failed."""
        return any(worker.hung for worker in self._workers.values())

    def _forgive(self, now: float) -> None:
        """Times of which the supervisor has seen nothing do not count against anybody."""
        away_s = now - self._looked_at
        if away_s > self.rule.nap_s:
            for worker in self._workers.values():
                worker.beaten_at += away_s
                worker.since += away_s
        self._looked_at = now

    def _late(self, worker: _Worker, now: float) -> list[Order]:
        silent_s, lasted_s, rule = now - worker.beaten_at, now - worker.since, self.rule
        match worker.phase:
            case Phase.READY if silent_s > rule.hung_s and not self._one_is_replaced:
                worker.hung = True
                worker.why = f"its event loop gave no sign of life for {silent_s:.1f} s"
            case Phase.STARTING if lasted_s > rule.start_s:
                worker.why = f"it was not ready after {lasted_s:.0f} s"
            case Phase.STOPPING if lasted_s > rule.stop_s:
                worker.why = f"it did not end within {lasted_s:.0f} s of being asked to"
            case _:
                return []
        self._enter(worker.number, Phase.KILLED, now)
        return [Order(Do.KILL, worker.number, worker.why)]

    def _stops(self, now: float) -> list[Order]:
        """All together, or each when the one before has gone."""
        up = [w for w in self._workers.values() if w.phase in (Phase.STARTING, Phase.READY)]
        going = any(w.phase in (Phase.STOPPING, Phase.KILLED) for w in self._workers.values())
        if self.rule.in_turn:
            up = [] if going else up[:1]
        return [self._ask_to_stop(worker, "the service stops", now) for worker in up]

    def _starts(self, now: float) -> list[Order]:
        due = [w for w in self._workers.values() if w.phase is Phase.WAITING and w.start_at <= now]
        if not any(worker.ever_ready for worker in self._workers.values()):
            busy = any(w.phase is not Phase.WAITING for w in self._workers.values())
            first = self._workers[1]
            due = [first] if first in due and not busy else []
        return [Order(Do.START, worker.number, worker.why) for worker in due]

    def _rolls(self, now: float) -> list[Order]:
        if self._rolling:
            if self._workers[self._rolling].phase is not Phase.READY:
                return []
            self._rolling = 0
        while self._to_roll:
            worker = self._workers[self._to_roll.pop(0)]
            if worker.phase is Phase.READY:
                self._rolling = worker.number
                return [self._ask_to_stop(worker, "all workers are restarted, one after the other", now)]
        return []

    def _ask_to_stop(self, worker: _Worker, why: str, now: float) -> Order:
        self._enter(worker.number, Phase.STOPPING, now)
        worker.why, worker.asked = why, True
        return Order(Do.STOP, worker.number, why)

    # Changes ------------------------------------------------------------------------------------------------------

    def _unready(self, worker: _Worker, why: str, now: float) -> None:
        """It ended before it was ready. Whatever is new about it, the others keep what works."""
        self._to_roll.clear()
        self._rolling = 0
        worker.hung = False
        attempt = worker.attempt + 1
        hopeless = attempt >= self.rule.unready_max and not any(w.ever_ready for w in self._workers.values())
        self._wait(worker, f"before it was ready, {why}", attempt, now)
        if hopeless:
            self.failed = f"worker {worker.number} was started {attempt} times and never was ready: {why}"
            self.stop(now)

    def _wait(self, worker: _Worker, why: str, attempt: int, now: float) -> None:
        self._enter(worker.number, Phase.WAITING, now)
        worker.why, worker.attempt = why, attempt
        worker.start_at = now + (self.rule.backoff.delay_s(attempt, 1.0) if attempt else 0.0)

    def _enter(self, number: int, phase: Phase, now: float) -> None:
        worker = self._workers[number]
        worker.phase, worker.since = phase, now
