"""A small disk gets full and has room again; a slow one takes its time, and only while it is told to."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.testing.playground import disks
from posthouse.testing.playground.disks import SlowDisk, on_small_disk, why_no_slow_disk, why_no_small_disk

WRITER = """
import os, sys, time
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
for line in sys.stdin:
    begun = time.monotonic()
    os.write(file, b"x")
    os.fdatasync(file)
    print(time.monotonic() - begun, flush=True)
"""


@pytest.mark.skipif(bool(why_no_small_disk()), reason="this system lets nobody mount a disk in a namespace")
def test_a_small_disk_can_be_filled_and_freed_from_outside_and_ends_with_its_process(tmp_path: Path) -> None:
    command = on_small_disk((sys.executable, "-c", "print('up', flush=True); input()"), tmp_path, 4)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        seen = Path(f"/proc/{process.pid}/root{tmp_path}")
        disks.fill(seen)
        with pytest.raises(OSError, match="No space left"):
            (seen / "more").write_bytes(bytes(4096))
        disks.free(seen)
        (seen / "more").write_bytes(bytes(4096))
        process.kill()
    assert not list(tmp_path.iterdir())


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", WRITER, tmp_path / "file"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    yield process
    process.kill()
    await process.communicate()


async def synced_s(process: asyncio.subprocess.Process) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    return float(await process.stdout.readline())


@pytest.mark.skipif(bool(why_no_slow_disk()), reason="strace may not be used here")
async def test_a_slow_disk_delays_every_fsync_until_it_is_mended(writer: asyncio.subprocess.Process) -> None:
    await synced_s(writer)
    disk = SlowDisk(SystemClock())
    await disk.begin([writer.pid], delay_ms=500)
    assert await synced_s(writer) >= 0.5
    assert await synced_s(writer) >= 0.5
    await disk.end()
    assert min([await synced_s(writer) for _ in range(5)]) < 0.5
    assert writer.returncode is None


def test_an_ordinary_user_s_own_number_is_kept(tmp_path: Path) -> None:
    assert f"--map-user={os.geteuid()}" in on_small_disk(("true",), tmp_path, 4)
