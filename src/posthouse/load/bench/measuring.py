"""What the operating system says of a process and of a disk. Linux only: it reads /proc."""

import os
import time
from pathlib import Path

from posthouse.kit.clock import Clock
from posthouse.load.bench.latencies import Latencies

FSYNC_BYTES = 4096
FSYNC_INTERVAL_S = 0.02


def cpu_s(pid: int) -> float:
    """Seconds of CPU that all threads of a process have used, in user and system mode; exact to microseconds.

    The clock's number is as `clock_getcpuclockid` of the C library makes it on Linux: Python does not offer it.
    """
    return time.clock_gettime(~pid << 3 | 2)


def pss_kib(pid: int) -> int:
    """KiB of memory that a process holds; what it shares with others counts by its share (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise OSError(f"/proc/{pid}/smaps_rollup states no Pss")


async def fsyncs(folder: Path, seconds: float, clock: Clock) -> Latencies:
    """How long a file of `folder` takes to append 4 KiB durably, tried every 20 ms for so long."""
    latencies = Latencies()
    until = clock.monotonic() + seconds
    file = folder / "fsync-probe"
    with file.open("wb", buffering=0) as probe:
        while clock.monotonic() < until:
            begun = clock.monotonic()
            probe.write(bytes(FSYNC_BYTES))
            os.fsync(probe.fileno())
            latencies.add(clock.monotonic() - begun)
            await clock.sleep(FSYNC_INTERVAL_S)
    file.unlink()
    return latencies
