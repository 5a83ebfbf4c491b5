"""Samples of what processes hold, seen from outside and counted inside, and what became of it in the course of time."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import psutil

from posthouse.kit.clock import Clock
from posthouse.load.bench.measuring import pss_kib
from posthouse.load.soak.place import WatchedServer
from posthouse.load.soak.trend import Trend, trend
from posthouse.testing.census import Census, ask

INTERVAL_S = 10.0
POOL_MAX = 16
"""Connections to the database are opened when they are first needed, and stay."""


class Allowance(NamedTuple):
    """What a figure may grow by over the second half: by `floor`, or by this share of its median. And what may be
    left of it when everybody has gone, beyond what there was before anybody had come."""

    floor: float
    share: float = 0.0
    left: float = 0.0


FIGURES = {
    "pss_kib": Allowance(2048, 0.02, left=float("inf")),  # allocators keep what they once had
    "descriptors": Allowance(3, left=POOL_MAX),
    "threads": Allowance(1, left=1),
    "tasks": Allowance(5, 0.05, left=POOL_MAX),
    "timers": Allowance(10, 0.05, left=POOL_MAX),
}
CONTENTS = Allowance(50, 0.05, left=50)
"""Instances of one type, and entries of one container."""

Counts = Mapping[str, float]


class Sample(NamedTuple):
    """What a process held `at` a time, in seconds since the watch began."""

    at: float
    figures: Counts
    contents: Counts


class Finding(msgspec.Struct, frozen=True):
    """What grew in one process, or was left: how much there is, and how much of that is too much."""

    process: str
    what: str
    now: float
    growth: float


class Watch:
    """Samples of nodes and of the clients' process, the latter's contents when it says them itself."""

    def __init__(self, nodes: list[WatchedServer], clients: int, clock: Clock) -> None:
        self.samples: dict[str, list[Sample]] = {}
        self._nodes = nodes
        self._clients = clients
        self._clock = clock
        self._begun = clock.monotonic()

    async def run(self) -> None:
        """Sample for ever."""
        while True:
            at = self._clock.monotonic() - self._begun
            for name, sample in (await look(self._nodes, at=at)).items():
                self.samples.setdefault(name, []).append(sample)
            await self._clock.sleep(INTERVAL_S)

    def told(self, counted: Census) -> None:
        """What the clients' process holds between two chapters."""
        at = self._clock.monotonic() - self._begun
        self.samples.setdefault("clients", []).append(inside(counted, at, outside(self._clients)))

    def trends(self) -> dict[str, dict[str, Trend]]:
        """Of each process each figure."""
        return {
            process: {
                name: trend([(each.at, each.figures[name]) for each in samples], allowed.floor, allowed.share)
                for name, allowed in FIGURES.items()
            }
            for process, samples in self.samples.items()
        }

    def grown(self) -> list[Finding]:
        """Every figure and content that grows, the worst first."""
        findings = [
            Finding(process, name, found.median, found.growth)
            for process, trends in self.trends().items()
            for name, found in trends.items()
            if not found.flat
        ]
        for process, samples in self.samples.items():
            for name in samples[-1].contents:
                series = [(each.at, each.contents.get(name, 0)) for each in samples]
                found = trend(series, CONTENTS.floor, CONTENTS.share)
                if not found.flat:
                    findings.append(Finding(process, name, found.median, found.growth))
        return sorted(findings, key=lambda each: -each.growth / max(each.now, 1))


async def look(nodes: list[WatchedServer], *, at: float = 0.0, collect: bool = False) -> dict[str, Sample]:
    """A sample of each node, by name. `collect`: without what nobody holds any more."""
    return {
        node.folder.name: inside(
            await asyncio.to_thread(ask, node.census, collect=collect), at, outside(node.pid)
        )
        for node in nodes
    }


def inside(counted: Census, at: float, seen: Counts) -> Sample:
    """A census together with what the operating system says."""
    figures = {**seen, "tasks": counted.tasks, "timers": counted.timers}
    return Sample(at, figures, {**counted.objects, **counted.contents})


def outside(pid: int) -> Counts:
    """What the operating system says of a process."""
    process = psutil.Process(pid)
    return {"pss_kib": pss_kib(pid), "descriptors": process.num_fds(), "threads": process.num_threads()}


def left(before: Mapping[str, Sample], after: Mapping[str, Sample]) -> list[Finding]:
    """What there is more of than there was, beyond what is allowed."""
    findings = []
    for process, then in before.items():
        now = after[process]
        for name, value in (*now.figures.items(), *now.contents.items()):
            was = then.figures.get(name, then.contents.get(name, 0))
            if value - was > FIGURES.get(name, CONTENTS).left:
                findings.append(Finding(process, name, value, value - was))
    return findings
