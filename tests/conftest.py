"""What every test runs under: repeatable property tests, and no process left behind by a test run."""

from collections.abc import Iterator

import hypothesis
import psutil
import pytest

from posthouse.testing.postgres import shared_postgres

# Timing differs too much between machines for a deadline; a failure found on one must be found on all.
hypothesis.settings.register_profile("posthouse", deadline=None, derandomize=True)
hypothesis.settings.load_profile("posthouse")

STOP_TIMEOUT_S = 5


@pytest.fixture(scope="session", autouse=True)
def no_process_left_behind() -> Iterator[None]:
    """Fail the run, and clean up, when tests leave child processes running."""
    before = set(psutil.Process().children(recursive=True))
    yield
    if shared_postgres.cache_info().currsize:
        shared_postgres().close()
    left = set(psutil.Process().children(recursive=True)) - before
    _, running = psutil.wait_procs(left, timeout=STOP_TIMEOUT_S)
    names = [f"{process.pid} {process.name()}" for process in running if process.is_running()]
    for process in running:
        process.kill()
    assert not names, f"tests left processes running: {names}; stop them in the fixture that starts them"
