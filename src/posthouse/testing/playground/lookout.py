"""Sees which process holds which connection, from a process of its own.

Beside the proxies' loop a look would take ten times as long, and hold up all that they pass on: after each of its
thousands of system calls it would wait for the interpreter's lock. Questions and answers are lines of JSON over pipes;
the process ends when its pipe closes. Linux only: straight from /proc, because psutil takes longer.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

LINE_BYTES_MAX = 1 << 24

Ends = tuple[int, int]
"""A connection's ports, its own end's first."""
Seen = list[tuple[int, int, str]]


class Lookout:
    """One look at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process, unless it runs. Raises OSError."""
        if self._process is not None:
            return
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __name__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
        )

    async def look(self, roots: Mapping[int, str]) -> dict[Ends, str]:
        """The hosts that hold connections now. `roots`: each host's first processes. Raises OSError when the process
        has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(roots) + b"\n")
        answer = await self._process.stdout.readline()
        if not answer:
            raise ConnectionAbortedError("the process that looks for connections has ended")
        seen = msgspec.json.decode(answer, type=Seen)
        return {(own, other): host for own, other, host in seen}

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def main() -> None:
    """Answer until nobody asks any more."""
    for line in sys.stdin.buffer:
        seen = list(_seen(msgspec.json.decode(line, type=dict[int, str])))
        sys.stdout.buffer.write(msgspec.json.encode(seen) + b"\n")
        sys.stdout.buffer.flush()


def _seen(roots: Mapping[int, str]) -> Iterator[tuple[int, int, str]]:
    ends = _ends_by_inode()
    for pid, host in _processes(roots).items():
        with contextlib.suppress(OSError):  # it has just ended
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    kind, _, inode = os.readlink(descriptor.path).partition(":")  # noqa: PTH115 - no Path for each
                    if kind == "socket" and (own := ends.get(inode[1:-1])):
                        yield *own, host


def _ends_by_inode() -> dict[str, Ends]:
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    fields = (line.split() for line in lines)
    return {each[9]: (_port(each[1]), _port(each[2])) for each in fields}


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _processes(roots: Mapping[int, str]) -> dict[int, str]:
    """The hosts' processes: the first ones, and all that they have started."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(entry.path, "stat").read_text("utf-8", "replace")
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = dict(roots)
    following = list(roots)
    for pid in following:
        fresh = [child for child in children.get(pid, ()) if child not in found]
        found |= dict.fromkeys(fresh, found[pid])
        following += fresh
    return found


if __name__ == "__main__":
    main()
