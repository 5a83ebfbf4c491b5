"""Who notices that a safeguard is missing: a simulation after so many seeds, or the tests that name it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from posthouse.testing.mutation.breaking import broken
from posthouse.testing.mutation.plugin import VARIABLE
from posthouse.testing.mutation.safeguards import Safeguard, named
from posthouse.testing.simulation.seeds import outcome

SEEDS_MAX = 300
TESTS_TIMEOUT_S = 600
_CAUGHT, _PASSED = 1, 0
"""What pytest answers when tests failed, and when all passed."""


class Caught(NamedTuple):
    """`by` is empty when nobody noticed. `seeds`: how many stories it took; 0 where tests did it."""

    safeguard: str
    by: str
    seeds: int = 0
    how: str = ""


def catch_all(names: Sequence[str], repository: Path, seeds_max: int, jobs: int) -> Iterator[Caught]:
    """Take out each of these, in a process of its own; what came of them in the order of `names`."""
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1) as pool:
        yield from pool.map(_catch_named, names, repeat(repository), repeat(seeds_max))


def _catch_named(name: str, repository: Path, seeds_max: int) -> Caught:
    return catch(named(name), repository, seeds_max)


def catch(safeguard: Safeguard, repository: Path, seeds_max: int = SEEDS_MAX) -> Caught:
    """Take the safeguard out and see who notices. Raises `RuntimeError` when its tests cannot be run."""
    return _by_tests(safeguard, repository) if safeguard.tests else _by_simulation(safeguard, seeds_max)


def _by_simulation(safeguard: Safeguard, seeds_max: int) -> Caught:
    with broken(safeguard.patches):
        for seed in range(seeds_max):
            failures = outcome(seed).failures
            if failures:
                return Caught(safeguard.name, "simulation", seed + 1, failures[0])
    return Caught(safeguard.name, "")


def _by_tests(safeguard: Safeguard, repository: Path) -> Caught:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-p", "posthouse.testing.mutation.plugin", *safeguard.tests],
        cwd=repository,
        env={**os.environ, VARIABLE: safeguard.name},
        capture_output=True,
        text=True,
        timeout=TESTS_TIMEOUT_S,
        check=False,
    )
    if done.returncode not in (_CAUGHT, _PASSED):
        raise RuntimeError(
            f"{safeguard.name}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
        )
    failed = next((line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED")), "")
    return Caught(safeguard.name, failed.partition("::")[2].rpartition("::")[2] or failed, 0, failed)
