"""A process with a wrong clock sees another time of day, and the same seconds go by."""

import os
import subprocess
import sys
import time

import pytest

from posthouse.testing.playground.clocks import environment, why_no_wrong_clock

TOLD = "import time; print(time.time(), time.monotonic())"


@pytest.mark.skipif(bool(why_no_wrong_clock()), reason="libfaketime is not installed")
@pytest.mark.parametrize("off_s", [-60.0, 60.0])
def test_the_wall_clock_is_off_and_the_monotonic_one_is_not(off_s: float) -> None:
    told = subprocess.run(
        (sys.executable, "-c", TOLD),
        env=os.environ | environment(off_s),
        capture_output=True,
        text=True,
        check=True,
    )
    wall, monotonic = map(float, told.stdout.split())
    assert wall - time.time() == pytest.approx(off_s, abs=20)
    assert time.monotonic() - monotonic < 20


def test_a_right_clock_needs_nothing() -> None:
    assert environment(0.0) == {}
