"""The supervisor, with real processes: killed, frozen, broken, deaf, rolled, ended; and none is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthouse.app.supervisor import hold_port

PATIENCE_S = 20.0


class Works:
    """A supervisor in a process of its own, and the journal of its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> None:
        program = Path(__file__).with_name("supervisor_at_work.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), *arguments],
            env=os.environ | {"WORK_FOLDER": str(self.folder)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self, *arguments: str) -> None:
        self.start(*arguments)
        assert self.said() == "ready at 4711"

    def said(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def tell(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def journal(self) -> list[tuple[int, int, str]]:
        file = self.folder / "journal"
        lines = (line.split(" ", 2) for line in (file.read_text() if file.exists() else "").splitlines())
        return [(int(number), int(pid), word) for number, pid, word in lines]

    def words(self) -> list[tuple[int, str]]:
        return [(number, word.partition(":")[0]) for number, _, word in self.journal()]

    def pid(self, number: int) -> int:
        """Of the newest worker with that number."""
        return [pid for each, pid, word in self.journal() if each == number and word.startswith("started")][
            -1
        ]

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.journal()
            time.sleep(0.02)

    def alive(self) -> list[int]:
        return [pid for pid in {pid for _, pid, _ in self.journal()} if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    works = Works(tmp_path)
    yield works
    if works.process is not None:
        works.process.kill()
        works.process.wait()
        assert works.process.stdout is not None
        works.process.stdout.close()
    for pid in works.alive():
        os.kill(pid, signal.SIGKILL)


def test_it_is_ready_once_when_all_are_and_ends_all_in_order(works: Works) -> None:
    works.ready("3")
    assert works.words() == [(1, "started"), *works.words()[1:]]
    assert sorted(works.words()) == [(1, "started"), (2, "started"), (3, "started")]
    works.tell(signal.SIGTERM)
    assert works.ended() == 0
    assert sorted(works.words()[3:]) == [(1, "stopped"), (2, "stopped"), (3, "stopped")]
    assert works.alive() == []


def test_a_killed_worker_is_replaced_and_the_new_one_knows_why(works: Works) -> None:
    works.ready("2")
    old = works.pid(2)
    os.kill(old, signal.SIGKILL)
    works.until(lambda: works.pid(2) != old)
    assert works.journal()[-1][2] == "started: it ended: killed by SIGKILL"
    assert works.words().count((1, "started")) == 1


def test_a_frozen_worker_is_killed_and_replaced(works: Works) -> None:
    works.ready("2")
    old = works.pid(1)
    os.kill(old, signal.SIGSTOP)
    works.until(lambda: works.pid(1) != old)
    assert "its event loop gave no sign of life for" in works.journal()[-1][2]
    works.until(lambda: not _runs(old))


def test_a_supervisor_that_was_frozen_kills_nobody(works: Works) -> None:
    works.ready("2")
    before = works.journal()
    works.tell(signal.SIGSTOP)
    time.sleep(0.05)
    deadline = time.monotonic() + 4.5
    while time.monotonic() < deadline:
        time.sleep(0.05)
    works.tell(signal.SIGCONT)
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        assert works.journal() == before
        time.sleep(0.05)


def test_a_worker_that_ignores_sigterm_is_killed_in_the_end(works: Works) -> None:
    (works.folder / "deaf-2").touch()
    works.ready("2")
    works.tell(signal.SIGTERM)
    assert works.ended() == 0
    assert works.words().count((1, "stopped")) == 1
    assert works.alive() == []


def test_a_second_sigterm_kills_at_once(works: Works) -> None:
    (works.folder / "deaf-1").touch()
    works.ready("1")
    works.tell(signal.SIGTERM)
    time.sleep(0.05)
    works.tell(signal.SIGTERM)
    assert works.ended() == 0
    assert works.alive() == []


def test_in_turn_each_ends_when_the_one_before_has(works: Works) -> None:
    works.ready("3", "in turn")
    works.tell(signal.SIGTERM)
    assert works.ended() == 0
    assert works.words()[3:] == [(1, "stopped"), (2, "stopped"), (3, "stopped")]


def test_sighup_restarts_them_one_by_one(works: Works) -> None:
    works.ready("2")
    works.tell(signal.SIGHUP)
    works.until(lambda: len(works.words()) == 6)
    assert works.words()[2:] == [(1, "stopped"), (1, "started"), (2, "stopped"), (2, "started")]


def test_it_gives_up_when_no_worker_ever_is_ready(works: Works) -> None:
    (works.folder / "broken-1").touch()
    works.start("3")
    assert works.said() == ("worker 1 was started 3 times and never was ready: it ended: exit status 3")
    assert works.ended() == 1
    assert works.words() == [(1, "started")] * 3


def test_workers_end_with_a_supervisor_that_was_killed(works: Works) -> None:
    works.ready("2")
    works.tell(signal.SIGKILL)
    works.ended()
    works.until(lambda: not works.alive())
    assert sorted(works.words()[2:]) == [(1, "orphaned"), (2, "orphaned")]


def test_a_port_is_held_for_those_who_share_it_and_only_when_nobody_listens_there() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        hold_port("127.0.0.1", taken.getsockname()[1])
    with hold_port("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with (
            socket.create_server(("127.0.0.1", port), reuse_port=True),
            pytest.raises(OSError, match="in use"),
        ):
            hold_port("127.0.0.1", port)
