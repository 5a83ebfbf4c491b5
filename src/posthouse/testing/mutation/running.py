"""Who notices that a safeguard is missing: a simulation after so many seeds, or the tests that name it.

What fails is played once more with the safeguard in its place, and must pass: a test that is red anyway proves nothing.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from posthouse.testing.mutation.breaking import broken
from posthouse.testing.mutation.plugin import VARIABLE
from posthouse.testing.mutation.safeguard import Safeguard
from posthouse.testing.mutation.safeguards import named
from posthouse.testing.simulation.seeds import outcome

SEEDS_MAX = 300
TESTS_TIMEOUT_S = 600
_CAUGHT, _PASSED = 1, 0
"""What pytest answers when tests failed, and when all passed."""
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::\w+(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)
ANYWAY = "fails also with the safeguard in its place"


class Caught(NamedTuple):
    """`by` is empty when nobody noticed. `seeds`: how many stories it took; 0 where tests did it.

    `how` is what failed, or why a failure does not count.
    """

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
    for seed in range(seeds_max):
        with broken(safeguard.patches):
            failures = outcome(seed).failures
        if failures and outcome(seed).failures:
            return Caught(safeguard.name, "", 0, f"seed {seed} {ANYWAY}")
        if failures:
            return Caught(safeguard.name, "simulation", seed + 1, failures[0])
    return Caught(safeguard.name, "")


def _by_tests(safeguard: Safeguard, repository: Path) -> Caught:
    plugin = ["-p", "posthouse.testing.mutation.plugin"]
    failed = _first_failure([*plugin, *safeguard.tests], repository, {VARIABLE: safeguard.name})
    if not failed:
        return Caught(safeguard.name, "")
    if _first_failure([failed], repository, {}):
        return Caught(safeguard.name, "", 0, f"{failed} {ANYWAY}")
    return Caught(safeguard.name, failed.rpartition("::")[2], 0, failed)


def _first_failure(arguments: Sequence[str], repository: Path, environment: Mapping[str, str]) -> str:
    """The test that pytest ends with; empty when all pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=repository,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TESTS_TIMEOUT_S,
        check=False,
    )
    failed = _FAILED.search(done.stdout)
    if done.returncode == _PASSED:
        return ""
    if done.returncode != _CAUGHT or failed is None:
        raise RuntimeError(
            f"{' '.join(arguments)}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
        )
    return failed[1]
