"""Control groups of both versions, as the kernel writes them; whatever is missing is no limit."""

from pathlib import Path

import pytest

from posthouse.health.cgroup import Cgroup


class Kernel:
    """A folder in the place of /sys/fs/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.root, self.own = folder / "cgroup", folder / "own"

    def write(self, files: dict[str, str]) -> None:
        for path, text in files.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")

    def group(self, own: str) -> Cgroup:
        self.own.write_text(f"{own}\n")
        return Cgroup.of_this_process(self.root, self.own)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_version_2_with_limits_on_the_way(kernel: Kernel) -> None:
    kernel.write({
        "cpu.stat": "usage_usec 5",
        "slice/cpu.max": "150000 100000",
        "slice/memory.max": "max",
        "slice/unit/cpu.max": "max 100000",
        "slice/unit/memory.max": "2000",
        "slice/unit/memory.current": "1500",
        "slice/unit/memory.stat": "anon 900\ninactive_file 500",
        "slice/unit/cpu.stat": "usage_usec 7\nthrottled_usec 2500000",
    })  # fmt: skip
    group = kernel.group("0::/slice/unit")
    assert group.cores() == 1.5
    assert group.memory_bytes_max() == 2_000
    assert group.memory_bytes() == 1_000
    assert group.throttled_s() == 2.5


def test_version_1(kernel: Kernel) -> None:
    kernel.write({
        "cpu,cpuacct/box/cpu.cfs_quota_us": "200000",
        "cpu,cpuacct/box/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/box/cpu.stat": "nr_throttled 3\nthrottled_time 1500000000",
        "memory/box/memory.limit_in_bytes": "4096",
        "memory/box/memory.usage_in_bytes": "3000",
        "memory/box/memory.stat": "inactive_file 10\ntotal_inactive_file 1000",
    })  # fmt: skip
    group = kernel.group("4:memory:/box\n2:cpu,cpuacct:/box")
    assert group.cores() == 2.0
    assert (group.memory_bytes_max(), group.memory_bytes()) == (4_096, 2_000)
    assert group.throttled_s() == 1.5


def test_a_container_sees_its_own_group_as_the_top(kernel: Kernel) -> None:
    """/proc names the host's path, which is not there."""
    kernel.write({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"})
    assert kernel.group("1:cpu:/docker/4711").cores() == 0.5


def test_no_limit_is_written_in_several_ways(kernel: Kernel) -> None:
    kernel.write({
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    })  # fmt: skip
    group = kernel.group("4:memory:/\n1:cpu:/")
    assert (group.cores(), group.memory_bytes_max()) == (None, None)


@pytest.mark.parametrize("nonsense", ["--5 100000", "\xb2 100000", f"1 {'9' * 400}", "5 -", "1e5 5"])
def test_what_is_no_number_is_no_limit(kernel: Kernel, nonsense: str) -> None:
    kernel.write(
        {"app/cpu.max": nonsense, "app/memory.max": nonsense, "app/cpu.stat": f"throttled_usec {nonsense}"}
    )
    group = kernel.group("0::/app")
    assert (group.cores(), group.memory_bytes_max(), group.throttled_s()) == (None, None, 0.0)


def test_a_group_whose_name_no_file_can_have_has_no_limits(kernel: Kernel) -> None:
    assert kernel.group(f"0::/{'x' * 5_000}").cores() is None


def test_without_control_groups_there_are_no_limits(tmp_path: Path) -> None:
    group = Cgroup.of_this_process(tmp_path / "none", tmp_path / "missing")
    assert (group.cores(), group.memory_bytes_max(), group.memory_bytes()) == (None, None, None)
    assert group.throttled_s() == 0.0
