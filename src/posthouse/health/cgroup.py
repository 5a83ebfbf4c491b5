"""What the container or unit of this process may use, and has used: control groups, version 1 and 2.

Files are read when asked, some tens of microseconds each. Whatever is missing or not to be understood counts as "no
limit": the machine's own limits then hold.
"""

import re
from pathlib import Path
from typing import NamedTuple, Self

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
MEMORY_BYTES_ABSURD = 1 << 60
"""Version 1 writes "no limit" as a number near 2^63."""


class Places(NamedTuple):
    """The folders of the groups this process is in, the innermost first, for either resource."""

    cpu: tuple[Path, ...]
    memory: tuple[Path, ...]


class Cgroup:
    """The groups of this process."""

    def __init__(self, places: Places) -> None:
        self._places = places

    @classmethod
    def of_this_process(cls, root: Path = ROOT, own: Path = OWN) -> Self:
        """Found through /proc; without control groups there are no limits."""
        memberships = [line.split(":", 2) for line in _text(own).splitlines() if line.count(":") >= 2]
        cpu = _places(root, memberships, "cpu", "cpu.cfs_quota_us", "cpu.max")
        memory = _places(root, memberships, "memory", "memory.limit_in_bytes", "memory.max")
        return cls(Places(cpu, memory))

    def cores(self) -> float | None:
        """How many cores' worth of time the tightest quota leaves; None: no quota."""
        quotas = [quota for place in self._places.cpu if (quota := _quota(place)) is not None]
        return min(quotas, default=None)

    def memory_bytes_max(self) -> int | None:
        """The tightest limit of memory; None: no limit."""
        limits = [limit for place in self._places.memory if (limit := _memory_limit(place)) is not None]
        return min(limits, default=None)

    def memory_bytes(self) -> int | None:
        """What the group holds and cannot give back: without the page cache that is not in use."""
        for place in self._places.memory[:1]:
            used = _number(place / "memory.current") or _number(place / "memory.usage_in_bytes")
            if used is not None:
                stat = _table(place / "memory.stat")
                return max(0, used - stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        return None

    def throttled_s(self) -> float:
        """For how long the group was kept waiting by its quota, since it was made."""
        for place in self._places.cpu[:1]:
            stat = _table(place / "cpu.stat")
            return stat.get("throttled_usec", 0) / 1e6 + stat.get("throttled_time", 0) / 1e9
        return 0.0


def _places(
    root: Path, memberships: list[list[str]], controller: str, file_v1: str, file_v2: str
) -> tuple[Path, ...]:
    for number, controllers, path in memberships:
        if controller in controllers.split(","):
            found = _upwards(root / controllers, path, file_v1) or _upwards(root / controller, path, file_v1)
            if found:
                return found
        elif number == "0" and not controllers:
            found = _upwards(root, path, file_v2)
            if found:
                return found
    return ()


def _upwards(top: Path, path: str, file: str) -> tuple[Path, ...]:
    """The folders from `path` up to `top` that have the file: each may set a limit."""
    place = top / path.strip("/")
    inside = [place, *place.parents]
    return tuple(each for each in inside[: len(place.relative_to(top).parts) + 1] if _is_there(each / file))


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except (OSError, ValueError):  # no name of a file at all
        return False


def _quota(place: Path) -> float | None:
    quota, period = _number(place / "cpu.cfs_quota_us"), _number(place / "cpu.cfs_period_us")
    if quota is None:
        first, _, second = _text(place / "cpu.max").partition(" ")
        quota, period = _whole(first), _whole(second)
    return quota / period if quota and period and quota > 0 else None


def _memory_limit(place: Path) -> int | None:
    limit = _number(place / "memory.max") or _number(place / "memory.limit_in_bytes")
    return limit if limit is not None and limit < MEMORY_BYTES_ABSURD else None


def _table(file: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(file).splitlines())
    table = {pair[0]: _whole(pair[1]) for pair in pairs if len(pair) == 2}
    return {name: number for name, number in table.items() if number is not None}


def _number(file: Path) -> int | None:
    return _whole(_text(file))


def _whole(text: str) -> int | None:
    """What the kernel writes has at most 20 digits."""
    text = text.strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError:
        return ""
