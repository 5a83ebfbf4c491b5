"""Clients on the cluster's own machine run before it, where the system allows that."""

import os
import subprocess
import sys

import pytest

from posthouse.load.priority import NICE

SHOWN = """
import os, sys
from posthouse.load.priority import go_first
os.setuid(int(sys.argv[1]))
go_first()
print(os.getsid(0) == os.getpid(), os.getpriority(os.PRIO_PROCESS, 0))
"""
NOBODY = 65_534

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may have priority, or become another user"
)


def as_user(uid: int) -> str:
    command = [sys.executable, "-c", SHOWN, str(uid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_process_goes_first_in_a_session_of_its_own() -> None:
    assert as_user(0) == f"True {NICE}"


def test_who_may_not_goes_on_as_before() -> None:
    assert as_user(NOBODY) == "True 0"
