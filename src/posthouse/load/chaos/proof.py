"""What a set of runs leaves behind: one page for people, and one row of each scenario for programs.

What is run in part replaces that part of both: the rest of a record stays, and the page shows all that is in it.
"""

from importlib.metadata import version
from typing import Any

from msgspec.structs import replace

from posthouse.load.chaos.page import charts, page
from posthouse.load.chaos.recording import Recording, recorded, summary
from posthouse.load.chaos.scenarios import SCENARIOS
from posthouse.load.chaos.site import Load
from posthouse.testing.playground.programs import versions
from posthouse.testing.records import Recorder

KEY = "scenario"
"""Rows of other scenarios stay."""


class Proof:
    """Recordings, and the record that is made of them. `before` is the page as it was."""

    def __init__(self, recorder: Recorder, before: str = "") -> None:
        self.recordings: list[Recording] = []
        self._recorder = recorder
        self._charts = charts(before)

    def add(self, recording: Recording) -> None:
        """One more scenario was run."""
        self.recordings.append(recording)
        self._recorder.put(summary(recording))

    def page(self) -> str:
        """The page with charts."""
        shown: dict[str, Recording] = {}
        made: dict[str, str] = {}
        records = self._recorder.records()
        for record in records:
            for row in record.rows:
                scenario = SCENARIOS.get(row.get("scenario", ""))  # a record may hold other things as well
                if scenario is not None:
                    shown[scenario.name] = replace(recorded(row), story=scenario.story)
                    made[scenario.name] = f"Run by {record.made_at} with Posthouse {record.version}."
        shown |= {each.scenario: each for each in self.recordings}
        machine = records[-1].machine
        told = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
        return page(
            [shown[name] for name in SCENARIOS if name in shown],
            f"All of it ran on one machine, in the newest run one with {machine.cpus} cores and "
            f"{machine.memory_gib:g} GiB, {machine.system}: {told}.",
            made,
            self._charts,
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
