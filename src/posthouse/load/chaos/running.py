"""Runs scenarios on a local cluster, each so many times, and makes one recording of each from all its runs."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from posthouse.load.bench.latencies import Latencies, sum_of
from posthouse.load.chaos.crew import Second
from posthouse.load.chaos.pauses import percentile
from posthouse.load.chaos.recording import Mark, Moment, Recording
from posthouse.load.chaos.scenario import Scenario, Window
from posthouse.load.chaos.site import CommandFailed, Load, NotHealthy, Site
from posthouse.testing.history import Verdict
from posthouse.testing.playground.cluster import LocalCluster, NotRunning
from posthouse.testing.playground.plan import Plan, Refused

BREACHES_SHOWN_MAX = 10
QUIET_S = 5.0
LATE_S_TOLD = 0.25
"""The longest gap of the traffic itself is about as long."""
STEADY_SHARE = 0.8
"""Throughput is what it was when it has this share of it for three seconds, on average."""


class Run(NamedTuple):
    """One run of a scenario. Pauses are those of its worst window, waits those of its sends meanwhile."""

    verdict: Verdict
    pauses: list[float]
    breaches: list[str]
    moments: list[Moment]
    marks: list[Mark]
    seconds: float
    recovered_s: float | None
    quiet: list[float]
    waits: Sequence[float] = ()
    detected_s: float | None = None
    budget_s: float = 0.0


class Look(NamedTuple):
    """What clients saw in a window."""

    window: Window
    pauses: list[float]
    waits: list[float]

    @property
    def share(self) -> float:
        """How much of its budget the 99th percentile takes."""
        return percentile(self.pauses, 0.99) / self.window.budget_s


class Chaos:
    """Keeps one cluster for all scenarios that can share it, and brings up another one when one needs other parts, or
    has left it broken. `plan` is what scenarios change to their needs."""

    def __init__(
        self,
        plan: Plan,
        load: Load,
        tell: Callable[[str], None],
        open_cluster: Callable[[Plan], LocalCluster] = LocalCluster,
    ) -> None:
        self._plan = plan
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
        """Run a scenario so many times; where it cannot be run, the recording says why."""
        reason = scenario.missing()
        if reason:
            self._tell(f"{scenario.name}: skipped, {reason}")
            return skipped(scenario, reason)
        done = []
        for number in range(1, runs + 1):
            self._tell(f"{scenario.name}, run {number} of {runs}")
            try:
                done.append(await self._run(scenario))
            except (Refused, NotRunning, NotHealthy, CommandFailed, TimeoutError) as error:
                self.close()
                return broken_off(scenario, f"Run {number} broke off: {error}")
        return recording_of(scenario, done, self._load)

    async def _run(self, scenario: Scenario) -> Run:
        cluster = self._cluster_for(scenario.plan(self._plan))
        self._runs += 1
        load = self._load._replace(clients=scenario.clients or self._load.clients)
        async with Site(cluster, load, f"c{self._runs}") as site:
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
            run = await _seen(site, scenario, windows, begun)
            late_s = (await site.standings()).late_s
            if late_s > LATE_S_TOLD:
                self._tell(
                    f"messages were posted up to {late_s:.1f} s late, and the pauses hold that too: the machine has "
                    "too little CPU for this load. Lower --rate; and as root the clients go first"
                )
        if scenario.spoils or any("not whole" in breach for breach in run.breaches):
            self.close()
        return run

    def _cluster_for(self, plan: Plan) -> LocalCluster:
        if self._cluster is not None and self._cluster.plan != plan:
            self.close()
        if self._cluster is None:
            self._tell("bringing up a cluster")
            self._cluster = self._open_cluster(plan)
            self._cluster.__enter__()
        return self._cluster


async def _seen(site: Site, scenario: Scenario, windows: list[Window], begun: float) -> Run:
    verdict = await site.judge()
    looks = [await _look(site, window) for window in windows]
    worst = worst_of(looks, scenario)
    breaches = [*site.breaches, *(breach.reason for breach in verdict.breaches), *breaches_of(looks, worst)]
    if verdict.contradicted:
        breaches.append(f"{verdict.contradicted} times clients were told or shown what contradicts the log.")
    failed = (await site.standings()).failed
    if failed:
        breaches.append(f"{failed} sends failed for good.")
    moments = moments_of(await site.seconds(), begun)
    marks = [msgspec.structs.replace(mark, at_s=round(at - begun, 2)) for at, mark in site.marks]
    first = min((at for at, mark in site.marks if mark.kind == "fault"), default=windows[0].since)
    quiet = [] if worst.window.measured else await site.pauses(first - QUIET_S, first, worst.window.scope)
    return Run(
        verdict=verdict,
        pauses=worst.pauses,
        breaches=breaches,
        moments=moments,
        marks=marks,
        seconds=site.now() - begun,
        recovered_s=recovered_s(moments, fault_of(worst.window, site.marks) - begun, first - begun),
        quiet=quiet,
        waits=worst.waits,
        detected_s=await _detected_s(site, scenario.sign, told_of(windows)),
        budget_s=worst.window.budget_s,
    )


async def _detected_s(site: Site, sign: str, window: Window) -> float | None:
    """From a window's fault until the nodes' events have shown its sign."""
    if not sign:
        return None
    fault_at = fault_of(window, site.marks)
    signs = [at - fault_at for at, said in await site.events(fault_at) if re.search(sign, said)]
    return round(max(0.0, signs[0]), 2) if signs else None


async def _look(site: Site, window: Window) -> Look:
    waits = await site.waits(window.since, window.until, window.scope)
    if window.measured is not None:
        return Look(window, list(window.measured), waits)
    return Look(window, await site.pauses(window.since, window.until, window.scope), waits)


def fault_of(window: Window, marks: Sequence[tuple[float, Mark]]) -> float:
    """When what a window is about was broken: its first fault, or where all came earlier, the first of the run."""
    faults = sorted(at for at, mark in marks if mark.kind == "fault")
    within = [at for at in faults if window.since <= at <= window.until]
    return next(iter(within or faults), window.since)


def told_of(windows: Sequence[Window]) -> Window:
    """The one whose fault the nodes' events must show: the first, unless another one says so."""
    return next((window for window in windows if window.shown), windows[0])


def worst_of(looks: Sequence[Look], scenario: Scenario) -> Look:
    """The one that is reported: of those that are allowed what the first is, or of all where each has its own."""
    first = looks[0].window
    alike = (first.budget_s, first.scope)
    of = [look for look in looks if scenario.varied or (look.window.budget_s, look.window.scope) == alike]
    return max(of, key=lambda look: look.share)


def breaches_of(looks: Sequence[Look], worst: Look) -> list[str]:
    """What exceeds its budget and is not reported anyway."""
    breaches = []
    for look in looks:
        what, budget_s, sends_s = look.window.what, look.window.budget_s, look.window.sends_s
        pause_s, wait_s = percentile(look.pauses, 0.99), percentile(look.waits, 0.99)
        if look is not worst and pause_s > budget_s:
            breaches.append(f"{what}: p99 {pause_s:.1f} s, allowed {budget_s:g} s")
        if sends_s is not None and wait_s > sends_s:
            breaches.append(f"{what}: sends waited {wait_s:.1f} s (p99), allowed {sends_s:g} s")
    return breaches


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


def recovered_s(moments: Sequence[Moment], fault_at_s: float, first_at_s: float) -> float | None:
    """From the fault until deliveries are what they were before the first fault, for three seconds; None if never.

    What falls short in one of the three may be made up by the others, up to what is usual: a delay over the edge of a
    second is no outage, and a burst of what was held back is no recovery.
    """
    before = [moment.delivered for moment in moments if 3 <= moment.at_s < first_at_s - 1]
    usual = sum(before) / len(before) if before else 0.0
    if not usual:
        return None
    after = [moment for moment in moments if moment.at_s >= fault_at_s]
    shares = [min(1.0, moment.delivered / usual) for moment in after]
    for at in range(len(after) - 2):
        if shares[at] >= STEADY_SHARE and sum(shares[at : at + 3]) >= 3 * STEADY_SHARE:
            return round(max(0.0, after[at].at_s - fault_at_s), 1)
    return None


def recording_of(scenario: Scenario, runs: list[Run], load: Load) -> Recording:
    """All runs together; the 99th percentile of the pauses, what it may be and the timeline are the worst run's."""
    pauses = [pause for run in runs for pause in run.pauses]
    worst = max(runs, key=lambda run: (_allowed_share(run, scenario), max(run.pauses, default=0.0)))
    recovered = [run.recovered_s for run in runs if run.recovered_s is not None]
    detected = [run.detected_s for run in runs if run.detected_s is not None]
    return msgspec.structs.replace(
        _blank(scenario),
        budget_s=_budget_s(worst, scenario),
        acked=sum(run.verdict.acked for run in runs),
        lost=sum(run.verdict.lost for run in runs),
        duplicated=sum(run.verdict.duplicated for run in runs),
        reordered=sum(run.verdict.reordered for run in runs),
        refused=sum(moment.refused for run in runs for moment in run.moments),
        pause_p50_s=round(percentile(pauses, 0.5), 2),
        pause_p99_s=round(percentile(worst.pauses, 0.99), 2),
        pause_max_s=round(max(pauses, default=0.0), 2),
        quiet_p99_s=round(percentile([pause for run in runs for pause in run.quiet], 0.99), 2),
        send_p99_s=round(percentile([wait for run in runs for wait in run.waits], 0.99), 2),
        detected_s=max(detected, default=None) if len(detected) == len(runs) else None,
        recovered_s=max(recovered) if len(recovered) == len(runs) else None,
        clients=scenario.clients or load.clients,
        seconds=round(sum(run.seconds for run in runs), 1),
        runs=len(runs),
        seed=load.seed if scenario.varied else None,
        breaches=tuple(breach for run in runs for breach in _all_breaches(run, scenario))[
            :BREACHES_SHOWN_MAX
        ],
        timeline=tuple(worst.moments),
        marks=tuple(worst.marks),
    )


def _budget_s(run: Run, scenario: Scenario) -> float:
    return run.budget_s if scenario.varied else scenario.budget_s


def _allowed_share(run: Run, scenario: Scenario) -> float:
    """How much of what is allowed a run has used."""
    return percentile(run.pauses, 0.99) / _budget_s(run, scenario)


def _all_breaches(run: Run, scenario: Scenario) -> Iterator[str]:
    yield from run.breaches
    if run.recovered_s is None:
        yield "Clients together were never again given what they were before the fault, for three seconds."
    if scenario.sign and run.detected_s is None:
        yield "No node's events have told of the fault."


def skipped(scenario: Scenario, reason: str) -> Recording:
    """What could not be run here, and why."""
    return msgspec.structs.replace(_blank(scenario), reason=reason)


def broken_off(scenario: Scenario, why: str) -> Recording:
    """What could not be carried out though it should."""
    return msgspec.structs.replace(_blank(scenario), breaches=(why,))


def _blank(scenario: Scenario) -> Recording:
    return Recording(
        scenario=scenario.name,
        title=scenario.title,
        story=scenario.story,
        promise=scenario.promise,
        budget_s=scenario.budget_s,
    )
