"""What is measured of a process and of a disk is what happened there."""

import asyncio
import os
from pathlib import Path

from posthouse.kit.clock import SystemClock
from posthouse.load.bench.measuring import cpu_s, fsyncs, pss_kib


def test_cpu_of_a_process_grows_with_its_work() -> None:
    before = cpu_s(os.getpid())
    while cpu_s(os.getpid()) < before + 0.05:
        sum(range(10_000))


def test_memory_that_is_touched_counts_and_memory_that_is_freed_does_not() -> None:
    before = pss_kib(os.getpid())
    block = bytearray(os.urandom(1024)) * 65_536
    assert pss_kib(os.getpid()) - before > 60_000
    del block
    assert pss_kib(os.getpid()) - before < 30_000


def test_a_disk_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    latencies = asyncio.run(fsyncs(tmp_path, 0.1, SystemClock()))
    assert latencies.counts.total() >= 1
    assert list(tmp_path.iterdir()) == []
