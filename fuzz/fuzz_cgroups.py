"""Fuzzes what the kernel's files say a container may use: a number that makes sense, or no limit."""

import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.health.cgroup import MEMORY_BYTES_ABSURD, Cgroup

BETWEEN = b"\0"
"""Stands between /proc/self/cgroup and the files of one group, in the order of `FILES`."""
FILES = (
    "cpu.max", "cpu.stat", "memory.max", "memory.current", "memory.stat", "cpu.cfs_quota_us", "cpu.cfs_period_us",
    "memory.limit_in_bytes", "memory.usage_in_bytes",
)  # fmt: skip

_FOLDER = TemporaryDirectory(prefix="posthouse-fuzz-")
_ROOT = Path(_FOLDER.name)
_OWN = _ROOT / "own"
_GROUP = _ROOT / "a" / "b"
_GROUP.mkdir(parents=True)


def check(data: bytes) -> None:
    own, *texts = data.split(BETWEEN)
    _OWN.write_bytes(own)
    for at, name in enumerate(FILES):
        path = _GROUP / name
        path.unlink(missing_ok=True)
        if at < len(texts):
            path.write_bytes(texts[at])
    found = Cgroup.of_this_process(_ROOT, _OWN)
    cores, limit, used = found.cores(), found.memory_bytes_max(), found.memory_bytes()
    assert cores is None or (math.isfinite(cores) and cores > 0), cores
    assert limit is None or limit < MEMORY_BYTES_ABSURD
    assert used is None or used >= 0
    assert math.isfinite(found.throttled_s())


SEEDS = [
    b"",
    BETWEEN.join((
        b"0::/a/b\n", b"150000 100000\n", b"throttled_usec 5\nnr 1\n", b"1073741824\n", b"5000\n",
        b"inactive_file 100\n",
    )),
    BETWEEN.join((b"0::/a/b\n", b"max 100000\n", b"", b"max\n", b"7\n")),
    BETWEEN.join((
        b"4:cpu,cpuacct:/a/b\n5:memory:/a/b\n", b"", b"throttled_time 9\n", b"", b"", b"total_inactive_file 3\n",
        b"-1\n",
        b"100000\n", b"9223372036854771712\n", b"9000\n",
    )),
]  # fmt: skip
WORDS = [
    BETWEEN, b"0::/a/b", b"max", b" ", b"\n", b"-", b"--5", b"0", b":cpu:", b":memory:", b"/..", b"/", b"\xff", b"_",
    "²".encode(), "٣".encode(), b"throttled_usec ", b"inactive_file ",
]  # fmt: skip

FUZZER = Fuzzer("cgroups", check, ("posthouse.health.cgroup",), SEEDS, WORDS, size_max=3_000, cost=3)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
