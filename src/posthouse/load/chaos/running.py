"""Runs scenarios on a local cluster, each so many times, and makes one recording of each from all its runs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from posthouse.load.bench.latencies import Latencies, sum_of
from posthouse.load.chaos.crew import Second
from posthouse.load.chaos.pauses import percentile
from posthouse.load.chaos.recording import Mark, Moment, Recording
from posthouse.load.chaos.scenarios import Scenario, Window
from posthouse.load.chaos.site import Load, NotHealthy, Site
from posthouse.testing.history import Verdict
from posthouse.testing.playground.cluster import LocalCluster

BREACHES_SHOWN_MAX = 10
QUIET_S = 5.0
STEADY_SHARE = 0.8
"""Throughput is what it was when it has this share of it for three seconds."""


class Run(NamedTuple):
    """One run of a scenario. Pauses are those of its first window."""

    verdict: Verdict
    pauses: list[float]
    breaches: list[str]
    moments: list[Moment]
    marks: list[Mark]
    seconds: float
    recovered_s: float | None
    quiet: list[float]


class Chaos:
    """Keeps one cluster for all scenarios; brings up another one when a scenario has left it broken."""

    def __init__(
        self, open_cluster: Callable[[], LocalCluster], load: Load, tell: Callable[[str], None]
    ) -> None:
        self._open_cluster = open_cluster
        self._load = load
        self._tell = tell
        self._cluster: LocalCluster | None = None
        self._runs = 0

    def close(self) -> None:
        """Take the cluster down."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.__exit__()

    async def record(self, scenario: Scenario, runs: int) -> Recording:
        """Run a scenario so many times."""
        done = []
        for number in range(1, runs + 1):
            self._tell(f"{scenario.name}, run {number} of {runs}")
            done.append(await self._run(scenario))
        return recording_of(scenario, done, self._load)

    async def _run(self, scenario: Scenario) -> Run:
        if self._cluster is None:
            self._cluster = self._open_cluster()
            self._cluster.__enter__()
        self._runs += 1
        load = Load(self._load.rate, scenario.clients or self._load.clients)
        async with Site(self._cluster, load, f"c{self._runs}") as site:
            await site.healthy()
            await site.enter(through_balancer=scenario.balancer)
            begun = site.now()
            await site.talk()
            windows = await scenario.act(site)
            try:
                await site.healthy()
            except NotHealthy as error:
                site.breaches.append(f"The cluster is {error}.")
            await site.hush()
            run = await _seen(site, windows, begun)
        if scenario.spoils or any("not whole" in breach for breach in run.breaches):
            self.close()
        return run


async def _seen(site: Site, windows: list[Window], begun: float) -> Run:
    verdict = await site.judge()
    breaches = [*site.breaches, *(breach.reason for breach in verdict.breaches)]
    if verdict.contradicted:
        breaches.append(f"{verdict.contradicted} times clients were told or shown what contradicts the log.")
    first = windows[0]
    pauses = await _pauses(site, first)
    for window in windows[1:]:
        p99 = percentile(await _pauses(site, window), 0.99)
        if p99 > window.budget_s:
            breaches.append(f"{window.what}: p99 {p99:.1f} s, allowed {window.budget_s:g} s")
    moments = moments_of(await site.seconds(), begun)
    marks = [msgspec.structs.replace(mark, at_s=round(at - begun, 2)) for at, mark in site.marks]
    return Run(
        verdict=verdict,
        pauses=pauses,
        breaches=breaches,
        moments=moments,
        marks=marks,
        seconds=site.now() - begun,
        recovered_s=recovered_s(moments, first.since - begun),
        quiet=[]
        if first.measured is not None
        else await site.pauses(first.since - QUIET_S, first.since, first.scope),
    )


async def _pauses(site: Site, window: Window) -> list[float]:
    if window.measured is not None:
        return list(window.measured)
    return await site.pauses(window.since, window.until, window.scope)


def moments_of(workers: list[dict[int, Second]], begun: float) -> list[Moment]:
    seconds = sorted({second for worker in workers for second in worker})
    moments = []
    for second in seconds[:-1]:  # the last one is not over
        seen = [worker[second] for worker in workers if second in worker]
        latencies = sum_of(Latencies(each.latency_us) for each in seen)
        moments.append(
            Moment(
                at_s=round(second - begun, 1),
                acked=sum(each.acked for each in seen),
                delivered=sum(each.delivered for each in seen),
                p50_ms=latencies.percentile_ms(0.5),
                p99_ms=latencies.percentile_ms(0.99),
                refused=sum(each.refused for each in seen),
                connected=sum(each.connected for each in seen),
            )
        )
    return [moment for moment in moments if moment.at_s >= 0]


def recovered_s(moments: Sequence[Moment], fault_at_s: float) -> float | None:
    """From the fault until deliveries are what they were, for three seconds; None if never."""
    before = [moment.delivered for moment in moments if 3 <= moment.at_s < fault_at_s - 1]
    usual = percentile(before, 0.5)
    after = [moment for moment in moments if moment.at_s >= fault_at_s]
    for at in range(len(after) - 2):
        if all(moment.delivered >= STEADY_SHARE * usual for moment in after[at : at + 3]):
            return round(max(0.0, after[at].at_s - fault_at_s), 1)
    return None


def recording_of(scenario: Scenario, runs: list[Run], load: Load) -> Recording:
    """All runs together; the timeline is that of the run with the longest pause."""
    pauses = [pause for run in runs for pause in run.pauses]
    worst = max(runs, key=lambda run: max(run.pauses, default=0.0))
    recovered = [run.recovered_s for run in runs if run.recovered_s is not None]
    return Recording(
        scenario=scenario.name,
        title=scenario.title,
        story=scenario.story,
        budget_s=scenario.budget_s,
        acked=sum(run.verdict.acked for run in runs),
        lost=sum(run.verdict.lost for run in runs),
        duplicated=sum(run.verdict.duplicated for run in runs),
        reordered=sum(run.verdict.reordered for run in runs),
        refused=sum(moment.refused for run in runs for moment in run.moments),
        pause_p50_s=round(percentile(pauses, 0.5), 2),
        pause_p99_s=round(percentile(pauses, 0.99), 2),
        quiet_p99_s=round(percentile([pause for run in runs for pause in run.quiet], 0.99), 2),
        pause_max_s=round(max(pauses, default=0.0), 2),
        recovered_s=max(recovered) if len(recovered) == len(runs) else None,
        clients=scenario.clients or load.clients,
        seconds=round(sum(run.seconds for run in runs), 1),
        breaches=tuple(breach for run in runs for breach in run.breaches)[:BREACHES_SHOWN_MAX],
        timeline=tuple(worst.moments),
        marks=tuple(worst.marks),
    )
