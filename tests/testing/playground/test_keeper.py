"""Nothing of a playground is left behind, however its owner or its own process ends."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from posthouse.testing.playground.cluster import AS_ORDINARY_USER, Cluster, NotRunning
from posthouse.testing.playground.plan import Plan, Refused

pytestmark = [pytest.mark.serial, pytest.mark.timeout(90)]

OWNER = """
import sys
from pathlib import Path
from posthouse.testing.playground.cluster import Cluster
from posthouse.testing.playground.plan import Plan

cluster = Cluster(Path(sys.argv[1]))
cluster.begin(Plan(nodes=1, databases=1, replicas=1), detached=sys.argv[2] == "detached")
cluster.wait_up(lambda status: print(sum(part.pid > 0 for part in status.parts), flush=True))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "cluster"
    yield folder
    with contextlib.suppress(NotRunning):
        Cluster(folder).down()


def owner(folder: Path, how: str = "attached", *before: str) -> "subprocess.Popen[str]":
    """A process that brings a playground up, as soon as PostgreSQL runs in it."""
    command = [*before, sys.executable, "-c", OWNER, str(folder), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 7 and list(folder.glob("*/data/postmaster.pid")):
            break
    return process


def processes_of(folder: Path) -> list[psutil.Process]:
    """Everything that runs in the folder, or names it, but for its owner."""
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd().startswith(str(folder)) or str(folder) in " ".join(process.cmdline()):
                found.append(process)
    return [each for each in found if each.pid not in ours]


def wait_gone(folder: Path) -> None:
    psutil.wait_procs(processes_of(folder), timeout=20)
    assert not processes_of(folder)
    assert not folder.exists()


def test_when_its_owner_is_killed_every_process_ends_and_the_folder_goes(folder: Path) -> None:
    with owner(folder) as process:
        assert len(processes_of(folder)) > 10
        process.send_signal(signal.SIGKILL)
    wait_gone(folder)


def test_when_its_own_process_is_killed_every_process_ends_and_the_folder_goes(folder: Path) -> None:
    with owner(folder) as process:
        os.kill(Cluster(folder).status().pid, signal.SIGKILL)
        wait_gone(folder)
        assert process.wait(10) != 0, "its owner is told that it ended"


def test_detached_it_outlives_its_owner_and_ends_when_told(folder: Path) -> None:
    with owner(folder, "detached") as process:
        process.send_signal(signal.SIGKILL)
    cluster = Cluster(folder)
    assert cluster.status().state == "starting"
    cluster.down()
    wait_gone(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root has been an ordinary user all along")
def test_an_ordinary_user_can_run_one(folder: Path) -> None:
    with owner(folder, "attached", *AS_ORDINARY_USER) as process:
        process.send_signal(signal.SIGKILL)
    wait_gone(folder)


def test_a_folder_that_holds_something_else_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "letters").touch()
    with pytest.raises(Refused, match="is not empty"):
        Cluster(folder).begin(Plan())
    assert (folder / "letters").exists()
