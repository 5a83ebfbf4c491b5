"""What a set of runs leaves behind: one page for people, and one row of each scenario for programs."""

from importlib.metadata import version
from typing import Any

from posthouse.load.chaos.page import page
from posthouse.load.chaos.recording import Recording, summary
from posthouse.load.chaos.site import Load
from posthouse.testing.playground.programs import versions
from posthouse.testing.records import Recorder

KEY = "scenario"
"""Rows of other scenarios stay."""


class Proof:
    """Recordings, and the record that is made of them."""

    def __init__(self, recorder: Recorder) -> None:
        self.recordings: list[Recording] = []
        self._recorder = recorder

    def add(self, recording: Recording) -> None:
        """One more scenario was run."""
        self.recordings.append(recording)
        self._recorder.put(summary(recording))

    def page(self) -> str:
        """The page with charts."""
        record = self._recorder.record()
        machine = record.machine
        told = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
        return page(
            self.recordings,
            f"Made {record.made_at} with Posthouse {record.version} on one machine with "
            f"{machine.cpus} cores and {machine.memory_gib:g} GiB, {machine.system}: {told}.",
        )


def options(load: Load, nodes: int, databases: int, runs: int) -> dict[str, Any]:
    """What all scenarios have in common."""
    return {
        "rate": load.rate,
        "clients": load.clients,
        "nodes": nodes,
        "databases": databases,
        "runs": runs,
    }


def programs() -> dict[str, str]:
    """The versions of what a cluster is made of. Raises `ProgramMissing`."""
    return {"patroni": version("patroni")} | versions()
