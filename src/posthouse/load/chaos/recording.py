"""What one run of a scenario has shown: counts, pauses against their budget, and a timeline. Pure values.

Times are seconds since the load began to be measured. A pause is how long one client, after a fault, was not receiving
(`pauses`). What could not be run has a reason instead, and its figures mean nothing.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Verdict = Literal["pass", "fail", "skipped"]


class Moment(msgspec.Struct, frozen=True):
    """One second of the timeline, as all clients together saw it; latencies from send to delivery, 0 without any."""

    at_s: float
    acked: int
    delivered: int
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    refused: int = 0
    connected: int = 0


class Mark(msgspec.Struct, frozen=True):
    """Something that was done to the cluster, or that it did: `fault`, `repair` or `note`."""

    at_s: float
    what: str
    kind: Literal["fault", "repair", "note"] = "fault"


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `story` says in a sentence or two what is done and what clients may expect."""

    scenario: str
    title: str
    story: str
    promise: str = "G5"
    reason: str = ""
    """Why it was skipped; empty when it was run."""
    budget_s: float
    acked: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    refused: int = 0
    """Sends that a clear code refused and that were repeated: not lost."""
    pause_p50_s: float | None = None
    pause_p99_s: float | None = None
    """Of the worst run: what most clients noticed in the others does not make up for it."""
    pause_max_s: float | None = None
    quiet_p99_s: float | None = None
    """The same measure in the seconds before the fault: what the traffic and the machine make of it by themselves."""
    send_p99_s: float | None = None
    """How long the slowest send of a client waited for its ack meanwhile; of 99 % of them no longer."""
    detected_s: float | None = None
    """From the fault until the cluster has said that there is one; None where it need not, or did not."""
    recovered_s: float | None = None
    """From the fault until throughput is what it was."""
    clients: int = 0
    seconds: float = 0.0
    runs: int = 0
    seed: int | None = None
    """Of random faults."""
    breaches: tuple[str, ...] = ()
    """What broke a promise or the budget, one sentence each."""
    timeline: tuple[Moment, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Whether everything that was promised held."""
        if self.reason:
            return "skipped"
        broken = self.lost or self.duplicated or self.reordered or self.breaches
        too_long = self.pause_p99_s is None or self.pause_p99_s > self.budget_s
        return "fail" if broken or too_long else "pass"


def summary(recording: Recording) -> dict[str, object]:
    """The keys that machines read, without the timeline."""
    left_out = ("timeline", "marks", "story")
    facts = {name: getattr(recording, name) for name in recording.__struct_fields__ if name not in left_out}
    return facts | {"verdict": recording.verdict}


def recorded(row: Mapping[str, object]) -> Recording:
    """What a row of a record tells of a recording: all but its story, its timeline and its marks."""
    return msgspec.convert(
        {name: value for name, value in row.items() if name != "verdict"} | {"story": ""}, Recording
    )
