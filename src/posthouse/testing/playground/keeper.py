"""The keeper: a process under which a whole playground runs, so that nothing of it is ever left behind.

It adopts whatever its descendants leave without a parent (PostgreSQL, when Patroni dies) and buries it. When the
owner's pipe closes, however the owner ended, or the playground's own process ends, it kills all and removes the folder.
Started as `python -m posthouse.testing.playground.keeper FOLDER attached|detached`. Linux only.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

SERVER = "posthouse.testing.playground.serve"
_PR_SET_CHILD_SUBREAPER = 36
_IPC_RMID = 0
_ROUND_MS = 20
_REMOVING_ROUNDS_MAX = 100


def keep(folder: Path, attached: bool) -> None:
    """Run the playground in `folder` until its owner or the playground itself ends, and clear up."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is the owner's, who then ends the playground in order
    woken = _wake_on(signal.SIGCHLD, signal.SIGTERM)
    with (folder / "playground.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", SERVER, folder],
            stdin=subprocess.PIPE,  # closes when the keeper is gone: the playground then ends by itself
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _wait_end(server.pid, woken, sys.stdin.fileno() if attached else None)
    _kill_all()
    _forget_shared_memory(folder)
    _remove(folder)


def _wake_on(*signals: signal.Signals) -> int:
    """A descriptor that can be read when one of the signals came."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    return reading


def _wait_end(server: int, woken: int, owner: int | None) -> None:
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    if owner is not None:
        poll.register(owner, select.POLLIN | select.POLLHUP)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == owner:
                if not os.read(descriptor, 4096):
                    return
            elif signal.SIGTERM in os.read(woken, 4096):
                return
        if server in _bury():
            return


def _bury() -> list[int]:
    """Take note of the ends of all children that have ended, ours and adopted ones."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.append(pid)
    return ended


def _kill_all() -> None:
    """Until there is no descendant any more: what loses its parent becomes our child."""
    while True:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        select.select([], [], [], _ROUND_MS / 1000)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def _forget_shared_memory(folder: Path) -> None:
    """The segments of System V memory that killed PostgreSQL servers have left to their successors."""
    libc = ctypes.CDLL(None)
    for path in folder.glob("*/data/postmaster.pid"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            libc.shmctl(int(path.read_text().splitlines()[6].split()[1]), _IPC_RMID, None)


def _remove(folder: Path) -> None:
    for _ in range(_REMOVING_ROUNDS_MAX):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        select.select([], [], [], _ROUND_MS / 1000)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2] == "attached")
