"""What one run of a scenario has shown: counts, pauses against their budget, and a timeline. Pure values.

Times are seconds since the load began to be measured. A pause is how long one client, after a fault, was not receiving:
from the moment of the fault (or its last delivery before it, if that was later) until the first delivery after it that
was not already on its way.
"""

from typing import Literal

import msgspec

Verdict = Literal["pass", "fail"]


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
    budget_s: float
    acked: int
    lost: int
    duplicated: int
    reordered: int
    refused: int = 0
    """Sends that a clear code refused and that were repeated: not lost."""
    pause_p50_s: float
    pause_p99_s: float
    pause_max_s: float
    quiet_p99_s: float = 0.0
    """The same measure in the seconds before the fault: what the traffic and the machine make of it by themselves."""
    detected_s: float | None = None
    """From the fault until the cluster has decided that there is one."""
    recovered_s: float | None = None
    """From the fault until throughput is what it was."""
    clients: int = 0
    seconds: float = 0.0
    breaches: tuple[str, ...] = ()
    """What broke a promise or the budget, one sentence each."""
    timeline: tuple[Moment, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Whether everything that was promised held."""
        broken = self.lost or self.duplicated or self.reordered or self.breaches
        return "fail" if broken or self.pause_p99_s > self.budget_s else "pass"


def summary(recording: Recording) -> dict[str, object]:
    """The keys that machines read, without the timeline."""
    left_out = ("timeline", "marks", "title", "story")
    facts = {name: getattr(recording, name) for name in recording.__struct_fields__ if name not in left_out}
    return facts | {"verdict": recording.verdict}
