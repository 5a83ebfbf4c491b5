"""Many seeds on all cores: each story in a process of a pool, the outcomes as they come."""

import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice
from typing import NamedTuple

from posthouse.testing.simulation.world import simulate

CHUNK = 64
"""Stories that wait in the pool for each process."""


class Outcome(NamedTuple):
    """What is told of one seed."""

    seed: int
    sent: int
    acked: int
    deliveries: int
    faults: tuple[str, ...]
    failures: tuple[str, ...]
    trace: int
    virtual_s: float


def outcome(seed: int) -> Outcome:
    """Play one seed."""
    logging.disable(
        logging.CRITICAL
    )  # what nodes log while everything breaks says nothing about the promises
    story = simulate(seed)
    verdict = story.verdict
    counts = (verdict.sent, verdict.acked, verdict.deliveries)
    faults = tuple(map(str, story.faults))
    return Outcome(seed, *counts, faults, tuple(story.failures), story.trace, story.seconds)


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
