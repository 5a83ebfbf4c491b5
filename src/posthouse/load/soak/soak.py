"""Soak: traffic for minutes or hours on nodes that tell what they hold, and the verdict on whether it grows.

First a short chapter to warm up; then everybody leaves, and what is held is counted. After the traffic everybody leaves
again, and it must be what it was. In between, the slope over the second half says whether something grows.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import msgspec

from posthouse.client import Runtime
from posthouse.kit.clock import Clock, SystemClock
from posthouse.kit.tasks import Tasks
from posthouse.load.backend import Backend
from posthouse.load.bench.worker import Worker
from posthouse.load.soak import people
from posthouse.load.soak.people import Chapter
from posthouse.load.soak.place import Place, place
from posthouse.load.soak.watch import Finding, Sample, Watch, left, look
from posthouse.testing.history import Verdict

CHAPTER_S = 60.0
WARM_UP_S = 15.0
JUDGED_MINUTES_MIN = 10.0
"""A shorter run has no slope worth the name: it is judged by what is left alone."""
EMPTY_TIMEOUT_S = 180.0
"""HTTP connections and those of the database's pool are kept a while after their last use, and users' facts too."""
POLL_S = 5.0
FINDINGS_MAX = 30
OVERFLOWS = 'posthouse_listener_total{event="overflows"}'


class Town:
    """The nodes and the people."""

    def __init__(self, there: Place, worker: Worker, residents: int, per_s: float, clock: Clock) -> None:
        self.verdict = Verdict()
        self.asides: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._there = there
        self._worker = worker
        self._residents = residents
        self._per_s = per_s
        self._clock = clock
        self._chapters = 0

    async def live(self, seconds: float, told: Callable[[Chapter], None]) -> float:
        """Let the people in, let them talk in chapters, let them go; for how long they talked."""
        there = self._there
        facts = {"addresses": there.addresses, "folder": str(there.folder), "api_key": there.api_key}
        await self._worker.call("enter", **facts, residents=self._residents)
        begun = self._clock.monotonic()
        while (left_s := seconds - (self._clock.monotonic() - begun)) > 1:
            self._chapters += 1
            length_s = min(CHAPTER_S, left_s)
            answer = await self._worker.call(
                "chapter", number=self._chapters, seconds=length_s, per_s=self._per_s
            )
            chapter = msgspec.convert(answer, Chapter)
            self.verdict = self.verdict.plus(chapter.verdict)
            self.asides.update(chapter.asides)
            self.failed.update(chapter.failed)
            told(chapter)
        talked_s = self._clock.monotonic() - begun
        await self._worker.call("leave")
        return talked_s

    async def still(self, before: Mapping[str, Sample] | None = None) -> dict[str, Sample]:
        """What the nodes hold, once it is not more than `before`, or does not become less any more."""
        nodes = self._there.nodes
        give_up_at = self._clock.monotonic() + EMPTY_TIMEOUT_S
        last = await look(nodes, collect=True)
        while self._clock.monotonic() < give_up_at:
            await self._clock.sleep(POLL_S)
            now = await look(nodes, collect=True)
            if not left(before, now) if before is not None else not left(now, last):
                return now
            last = now
        return last

    async def overflows(self) -> int:
        """How many clients were disconnected because they did not read."""
        async with Runtime() as runtime:
            asked = [
                Backend(url, self._there.api_key, runtime).metric(OVERFLOWS) for url in self._there.addresses
            ]
            return round(sum(await asyncio.gather(*asked)))


async def soak(*, minutes: float, per_s: float, residents: int, cluster: bool) -> dict[str, object]:
    """Run it; docs/soak.md says what the keys mean."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        there = stack.enter_context(place(cluster=cluster))
        worker = await stack.enter_async_context(Worker(f"{people.__name__}:People"))
        town = Town(there, worker, residents, per_s, clock)
        await town.live(WARM_UP_S, lambda chapter: None)
        before = await town.still()
        watch = Watch(there.nodes, worker.pid, clock)
        tasks = Tasks(clock)
        stack.push_async_callback(tasks.close)
        tasks.supervise("watch", watch.run)
        talked_s = await town.live(minutes * 60, lambda chapter: watch.told(chapter.census))
        await tasks.close()
        remains = left(before, await town.still(before))
        overflows = await town.overflows()
    grown = watch.grown() if minutes >= JUDGED_MINUTES_MIN else []
    return {
        "minutes": round(talked_s / 60, 1),
        "per_s": per_s,
        "residents": residents,
        "nodes": len(there.nodes),
        "database": "postgresql" if cluster else "sqlite",
        **_counts(town, overflows),
        "figures": _figures(watch),
        "grown": grown[:FINDINGS_MAX],
        "left": remains[:FINDINGS_MAX],
        "verdict": _verdict(town.verdict, grown, remains),
    }


def _counts(town: Town, overflows: int) -> dict[str, object]:
    facts = town.verdict._asdict()
    reasons = [f"{each.promise} {each.conv}/{each.seq}: {each.reason}" for each in facts.pop("breaches")]
    asides, failed = dict(town.asides), {name: count for name, count in town.failed.items() if count}
    return {**facts, "breaches": reasons, "asides": asides, "asides_failed": failed, "overflows": overflows}


def _figures(watch: Watch) -> dict[str, dict[str, dict[str, object]]]:
    return {
        process: {
            name: {key: round(value, 1) for key, value in found._asdict().items()} | {"flat": found.flat}
            for name, found in trends.items()
        }
        for process, trends in watch.trends().items()
    }


def _verdict(verdict: Verdict, grown: list[Finding], remains: list[Finding]) -> str:
    return "pass" if verdict.holds and not grown and not remains else "fail"
