"""What a set of runs leaves behind: one page for people, and one file of rows for programs, with the machine."""

import os
import platform
from importlib.metadata import version
from typing import Any

import msgspec
import psutil

import posthouse
from posthouse.kit.clock import SystemClock
from posthouse.load.chaos.page import page
from posthouse.load.chaos.recording import Recording, summary
from posthouse.load.chaos.site import Load
from posthouse.testing.playground.programs import versions


class Machine(msgspec.Struct, frozen=True):
    """Where it was run. `load_before` and `load_after`: over 1, 5 and 15 minutes."""

    cpus: int
    memory_gib: float
    system: str
    load_before: tuple[float, ...]
    load_after: tuple[float, ...]
    versions: dict[str, str]


class Proof:
    """Recordings and how they were made. Begins when the runs do."""

    def __init__(self, load: Load, nodes: int, databases: int, runs: int) -> None:
        self.recordings: list[Recording] = []
        self._load = load
        self._nodes = nodes
        self._databases = databases
        self._runs = runs
        self._load_before = _load()
        self._versions = {"python": platform.python_version(), "patroni": version("patroni")} | versions()

    def machine(self) -> Machine:
        """As it is now."""
        return Machine(
            cpus=os.cpu_count() or 1,
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
            system=f"{platform.system()} {platform.release()}",
            load_before=self._load_before,
            load_after=_load(),
            versions=self._versions,
        )

    def rows(self, before: bytes = b"") -> bytes:
        """The file of rows. Those in `before`, such a file, stay where their scenario was not run again."""
        fresh = {each.scenario: summary(each) for each in self.recordings}
        kept: list[dict[str, Any]] = msgspec.json.decode(before)["rows"] if before else []
        rows = {row["scenario"]: row for row in kept} | fresh
        told = {
            "made_at": _utc(SystemClock().now_ms()),
            "version": posthouse.__version__,
            "machine": self.machine(),
            "load": {
                "rate": self._load.rate,
                "clients": self._load.clients,
                "nodes": self._nodes,
                "databases": self._databases,
                "runs": self._runs,
            },
            "rows": list(rows.values()),
        }
        return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"

    def page(self) -> str:
        """The page with charts."""
        machine = self.machine()
        programs = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
        return page(
            self.recordings,
            f"Made {_utc(SystemClock().now_ms())} with Posthouse {posthouse.__version__} on one machine with "
            f"{machine.cpus} cores and {machine.memory_gib:g} GiB, {machine.system}: {programs}.",
        )


def _load() -> tuple[float, ...]:
    return tuple(round(each, 2) for each in os.getloadavg())


def _utc(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
