"""Bad disks for a host of the playground: one that is small and gets full, and one that is slow to make things durable.

A small disk is a tmpfs in namespaces of the host's own, which an ordinary user may make too where the system allows
user namespaces. A slow one is made by strace, which delays every fsync of the host's processes.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from posthouse.kit.clock import Clock
from posthouse.testing.playground.plan import Refused

FILLER = "filler"
ATTACH_S = 1.0
"""Where strace may not attach to a process it says so and ends well within this."""
_MOUNT = 'mount -t tmpfs -o "size=$1m,mode=0700" tmpfs "$2" && shift 2 && exec "$@"'


def why_no_small_disk() -> str:
    """Why no host can have a disk of its own here; empty where it can."""
    tried = subprocess.run(
        (*_in_namespaces(Path("/tmp"), 1), "true"),  # noqa: S108 - hidden for a process that does nothing
        capture_output=True,
        text=True,
        check=False,
    )
    return (
        "" if tried.returncode == 0 else f"a user namespace cannot mount a disk here: {tried.stderr.strip()}"
    )


def why_no_slow_disk() -> str:
    """Why fsync cannot be slowed down here; empty where it can."""
    if shutil.which("strace") is None:
        return "strace, which slows fsync down, is not installed"
    with contextlib.suppress(OSError):
        if Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip() != "0" and os.geteuid() != 0:
            return "this system lets no ordinary user attach strace (kernel.yama.ptrace_scope)"
    return ""


def on_small_disk(command: Sequence[str | Path], folder: Path, mib: int) -> tuple[str | Path, ...]:
    """The command, run where `folder` is an empty disk of so many MiB, which ends with the last process on it."""
    user = ("unshare", "--user", f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}", "--")
    return (*_in_namespaces(folder, mib), *user, *command)


def fill(folder: Path) -> None:
    """Take all the room that is left on the disk that holds `folder`."""
    with (folder / FILLER).open("wb", buffering=0) as filler:
        disk = os.statvfs(folder)
        with contextlib.suppress(OSError):
            os.posix_fallocate(filler.fileno(), 0, disk.f_bavail * disk.f_frsize)
        with contextlib.suppress(OSError):
            while filler.write(bytes(disk.f_frsize)):
                pass


def free(folder: Path) -> None:
    """Give that room back."""
    (folder / FILLER).unlink(missing_ok=True)


class SlowDisk:
    """Every fsync of some processes, and of those they start, takes longer, until `end`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tracer: asyncio.subprocess.Process | None = None

    async def begin(self, pids: Sequence[int], delay_ms: float) -> None:
        """Raises `Refused` where the system does not let us."""
        program = shutil.which("strace")
        if program is None:
            raise Refused("strace is not installed.", "apt-get install strace")
        calls = "fsync,fdatasync"
        self._tracer = await asyncio.create_subprocess_exec(
            program,
            *("-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}"),
            *("-e", f"inject={calls}:delay_enter={round(delay_ms * 1000)}"),
            *(word for pid in pids for word in ("-p", str(pid))),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        await self._clock.sleep(ATTACH_S)
        if self._tracer.returncode is not None:
            assert self._tracer.stderr is not None
            told = (await self._tracer.stderr.read()).decode(errors="replace").strip()
            raise Refused(f"The disk cannot be slowed down: {told}")

    async def end(self) -> None:
        """As fast as before."""
        tracer, self._tracer = self._tracer, None
        if tracer is not None and tracer.returncode is None:
            tracer.terminate()
            await tracer.wait()


def _in_namespaces(folder: Path, mib: int) -> tuple[str | Path, ...]:
    """Of its own: mounts, and shared memory, which a killed PostgreSQL would leave behind where nobody finds it."""
    return (
        *("unshare", "--user", "--map-root-user", "--mount", "--ipc", "--"),
        *("/bin/sh", "-c", _MOUNT, "disk", str(mib), folder),
    )
