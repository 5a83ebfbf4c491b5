"""Many seeds on all cores: each story in a process of a pool, the outcomes as they come."""

import logging
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import islice
from types import FrameType
from typing import NamedTuple

from posthouse.kit.virtual import Spinning, Stuck
from posthouse.testing.simulation.faults import FAULTS_MIN
from posthouse.testing.simulation.world import Story, simulate

CHUNK = 64
"""Stories that wait in the pool for each process."""

SENDS_MIN = 200
"""A story with fewer, or with fewer faults than are drawn, shows too little, and its seed has failed."""
CPU_S_MAX = 60.0
"""A story takes well below a second of it. Beyond, it is ended, and its seed has failed."""


class Overdue(KeyboardInterrupt):
    """A story does not come to an end. An event loop lets nothing else through that is raised in a callback."""


class Outcome(NamedTuple):
    """What is told of one seed."""

    seed: int
    sent: int
    acked: int
    deliveries: int
    faults: tuple[str, ...]
    events: tuple[str, ...]
    """The faults, and who came and went."""
    failures: tuple[str, ...]
    trace: int
    virtual_s: float


def outcome(seed: int) -> Outcome:
    """Play one seed. Whatever goes wrong is an outcome."""
    logging.disable(
        logging.CRITICAL
    )  # what nodes log while everything breaks says nothing about the promises
    story = Story(seed)
    try:
        with _bounded(CPU_S_MAX):
            simulate(seed, story)
    except (Overdue, Spinning, Stuck) as error:
        story.broke_off(error)
    verdict = story.verdict
    if not story.failures:
        story.failures.extend(_too_few(story))
    counts = (verdict.sent, verdict.acked, verdict.deliveries)
    faults = tuple(map(str, story.faults))
    if story.trial is not None:
        faults += (f"and after all that, {story.trial.fault}",)
    events = (*faults, *map(str, story.changes))
    return Outcome(seed, *counts, faults, events, tuple(story.failures), story.trace, story.seconds)


def _too_few(story: Story) -> Iterator[str]:
    made = ((story.verdict.sent, SENDS_MIN, "sends"), (len(story.faults), FAULTS_MIN, "faults"))
    for count, least, what in made:
        if count < least:
            yield f"it made {count} {what}, at least {least} are wanted"


@contextmanager
def _bounded(cpu_s: float) -> Iterator[None]:
    """Raises `Overdue` inside when it takes more of the processor. For a process's main thread."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Overdue(f"{cpu_s:g} s of CPU")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def outcomes(first: int, count: int, jobs: int) -> Iterator[Outcome]:
    """The outcomes of so many seeds, in the order in which they are done."""
    seeds = iter(range(first, first + count))
    with ProcessPoolExecutor(jobs) as pool:
        waiting = {pool.submit(outcome, seed) for seed in islice(seeds, CHUNK * jobs)}
        while waiting:
            done = next(as_completed(waiting))
            waiting.remove(done)
            waiting.update(pool.submit(outcome, seed) for seed in islice(seeds, 1))
            yield done.result()
