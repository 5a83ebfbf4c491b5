"""Asks everything that the node needs how it is, again and again, and draws conclusions from the answers.

Each dependency has a loop of its own, so that one that hangs keeps no other from being asked; peers are asked over
HTTP. Nothing is decided here: what was seen goes into `detector`, what it thinks of it into `readiness`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from posthouse.health.detector import TICK_S, Detector, State, Verdict
from posthouse.health.readiness import Part, Readiness, judge
from posthouse.health.report import FAILED, OK, READ_ONLY, SLOW, HealthReport, Peer, is_failure
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import start
from posthouse.storage.base import Condition

_log = logger(__name__)

PROBE_INTERVAL_S = 1.0
PEER_PROBE_INTERVAL_S = 2.0
PEERS_PROBED_MAX = 3
"""Each node probes the next ones in the circle of names, so each is probed by as many, however large the cluster."""
SILENCE_TOLERATED_S = 2.5
"""Answers of a database may take so long under load before its silence begins to look bad."""
DATABASE_SLOW_MS, SERVER_SLOW_MS, PEER_SLOW_MS = 1_000.0, 200.0, 500.0
LAG_FAILED_MS, LAG_FAILED_S = 1_000.0, 3
"""An event loop that is so late for so many seconds in a row serves nobody well."""

Ask = Callable[[], Awaitable[Condition]]
"""Finds out by doing. Never raises."""
Reach = Callable[[str], Awaitable[Condition]]
"""The same for a node, by the URL of its API."""


class Probed(Protocol):
    """A database, as far as this module is concerned."""

    async def probe(self) -> Condition: ...


class _Watched(NamedTuple):
    kind: str
    name: str
    ask: Ask
    slow_ms: float

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


class Probes:
    """The health of one node. `run` is the loop; `readiness()` the verdict on what was seen last.

    `peers` says who else there is, `reach` asks one of them, `lag_ms` how late the own event loop was in the last
    second, and `more` what parts find out about themselves (the canary, replicas).
    """

    def __init__(self, databases: Mapping[str, Probed], clock: Clock, node: str = "") -> None:
        self.node = node
        self.draining = False
        self.peers: Callable[[], Sequence[Peer]] = lambda: ()
        self.reach: Reach | None = None
        self.lag_ms: Callable[[], float] = lambda: 0.0
        self.more: list[Callable[[], Iterable[Part]]] = []
        self.on_change: Callable[[Readiness], None] = lambda readiness: None
        self.on_verdict: Callable[[str, Verdict], None] = lambda subject, verdict: None
        """Told by full name who has become dead, slow or live again; a mere suspicion is nobody's news."""
        self.detector = Detector(clock.monotonic())
        self._clock = clock
        self._conditions: dict[str, Condition] = {}
        self._lagging_s = 0
        self._last: Readiness | None = None
        self._probed: tuple[str, ...] = ()
        self._told: dict[str, State] = {}
        self._failing: dict[str, float] = {}
        self._only = len(databases) == 1
        self._watched = [
            _Watched("database", name, database.probe, DATABASE_SLOW_MS)
            for name, database in databases.items()
        ]

    def watch(self, kind: str, ask: Ask) -> None:
        """Ask the cache or the bus too. To be called before `run`."""
        self._watched.append(_Watched(kind, "", ask, SERVER_SLOW_MS))

    # What is known ------------------------------------------------------------------------------------------------

    def readiness(self) -> Readiness:
        """The verdict on what was last seen."""
        return judge(self.node, self.parts(), self.peers(), draining=self.draining)

    def wellness(self) -> Readiness:
        """The same, whether or not the node drains: what is to be said of its health."""
        return judge(self.node, self.parts(), self.peers())

    def parts(self) -> tuple[Part, ...]:
        """How each part is found. Empty until the first answer of a database."""
        asked = [self._part(each) for each in self._watched if each.title in self._conditions]
        if not asked:
            return ()
        found = (*asked, *(part for source in self.more for part in source()), self._loop_part())
        theirs = [peer.report for peer in self.peers() if peer.fresh]
        return tuple(self._aged(part, theirs) for part in found)

    def report(self) -> HealthReport:
        """What the peers are told."""
        parts = self.parts()

        def of(kind: str) -> dict[str, str]:
            return {part.name.partition(" ")[2]: part.state for part in parts if part.kind == kind}

        return HealthReport(
            databases=of("database"),
            replicas=of("replica"),
            cache=of("cache").get("", ""),
            bus=of("bus").get("", ""),
            canary=of("canary").get("", ""),
            lagging=self._lagging_s >= LAG_FAILED_S,
            peers={name: str(self.peer_verdict(name).state) for name in self._probed},
            distrust=self.detector.distrust,
        )

    def peer_verdict(self, node: str) -> Verdict:
        """What the probes of another node say."""
        return self.detector.verdict(f"node {node}", self._clock.monotonic(), PEER_SLOW_MS)

    def verdicts(self) -> dict[str, Verdict]:
        """What is thought of everything that is probed, by full name."""
        now = self._clock.monotonic()
        found = {each.title: self.detector.verdict(each.title, now, each.slow_ms) for each in self._watched}
        return found | {f"node {name}": self.peer_verdict(name) for name in self._probed}

    # Asking -------------------------------------------------------------------------------------------------------

    async def probe(self) -> None:
        """Ask everything once."""
        for each in self._watched:
            self.detector.expect(each.title, self._clock.monotonic(), SILENCE_TOLERATED_S)
        await asyncio.gather(*(self._ask(each) for each in self._watched))
        self._conclude()

    async def run(self) -> None:
        """Ask for ever."""
        loops = [start(self._ask_forever(each)) for each in self._watched]
        loops += [start(self._tick_forever()), start(self._ask_peers_forever())]
        try:
            await asyncio.gather(*loops)
        finally:
            for loop in loops:
                loop.cancel()

    async def _ask_forever(self, watched: _Watched) -> None:
        while True:
            await self._clock.sleep(PROBE_INTERVAL_S)
            await self._ask(watched)
            self._conclude()

    async def _ask(self, watched: _Watched) -> None:
        asked_at = self._clock.monotonic()
        self.detector.expect(watched.title, asked_at, SILENCE_TOLERATED_S)
        condition = await watched.ask()
        self._conditions[watched.title] = condition
        if condition.readable and condition.writable:
            now = self._clock.monotonic()
            self.detector.heard(watched.title, now, (now - asked_at) * 1000)
        else:
            self.detector.failed(watched.title, condition.reason)

    async def _tick_forever(self) -> None:
        while True:
            await self._clock.sleep(TICK_S)
            lag_ms = self.lag_ms()
            self.detector.tick(self._clock.monotonic(), lag_ms)
            self._lagging_s = self._lagging_s + 1 if lag_ms >= LAG_FAILED_MS else 0
            self._conclude()
            self._tell()

    async def _ask_peers_forever(self) -> None:
        while True:
            await self._clock.sleep(PEER_PROBE_INTERVAL_S)
            if self.reach is not None:
                chosen = neighbours(self.node, [p for p in self.peers() if p.fresh and p.url])
                for name in set(self._probed) - {peer.node for peer in chosen}:
                    self.detector.forget(f"node {name}")
                self._probed = tuple(peer.node for peer in chosen)
                await asyncio.gather(*(self._ask_peer(peer, self.reach) for peer in chosen))

    async def _ask_peer(self, peer: Peer, reach: Reach) -> None:
        asked_at, title = self._clock.monotonic(), f"node {peer.node}"
        self.detector.expect(title, asked_at, PEER_PROBE_INTERVAL_S)
        condition = await reach(peer.url)
        if condition.readable:
            now = self._clock.monotonic()
            self.detector.heard(title, now, (now - asked_at) * 1000)
        else:
            self.detector.failed(title, condition.reason)

    def _conclude(self) -> None:
        """A change of the verdict is a line in the log, and told."""
        readiness = self.readiness()
        before, self._last = self._last, readiness
        if before is None or (before.ready, before.degraded) != (readiness.ready, readiness.degraded):
            if before is not None or not readiness.ready:
                write = _log.info if readiness.ready and not readiness.degraded else _log.warning
                write = write if readiness.ready else _log.error
                write("readiness changed", ready=readiness.ready, reason=readiness.reason)
            self.on_change(readiness)

    def _tell(self) -> None:
        verdicts = self.verdicts()
        for subject, verdict in verdicts.items():
            before = self._told.get(subject, State.LIVE)
            if verdict.state is not State.SUSPECT and verdict.state is not before:
                self._told[subject] = verdict.state
                self.on_verdict(subject, verdict)
        self._told = {subject: state for subject, state in self._told.items() if subject in verdicts}

    # Parts --------------------------------------------------------------------------------------------------------

    def _part(self, watched: _Watched) -> Part:
        verdict = self.detector.verdict(watched.title, self._clock.monotonic(), watched.slow_ms)
        what = "the database" if watched.kind == "database" and self._only else f"the {watched.title}"
        state, reason = _state(verdict, self._conditions[watched.title])
        return Part(watched.title, state, f"{what} {reason}")

    def _aged(self, part: Part, peers: Sequence[HealthReport]) -> Part:
        """With for how long it has failed here alone: who recovers from a common fault a moment after others is not
        worse than they are."""
        if not part.failed:
            self._failing.pop(part.name, None)
            return part
        now = self._clock.monotonic()
        theirs = [state for peer in peers if (state := peer.state(part.name))]
        if theirs and all(map(is_failure, theirs)):
            self._failing.pop(part.name, None)
        return part._replace(failed_s=now - self._failing.setdefault(part.name, now))

    def _loop_part(self) -> Part:
        if self._lagging_s >= LAG_FAILED_S:
            late = f"the event loop has been {self.lag_ms():.0f} ms late for {self._lagging_s} s"
            return Part("loop", FAILED, late)
        return Part("loop", OK, "the event loop is punctual")


def _state(verdict: Verdict, condition: Condition) -> tuple[str, str]:
    """The state of a part from what the detector thinks and what the last answer said."""
    if verdict.state is State.DEAD:
        if condition.readable and condition.writable:
            return FAILED, f"does not answer: {verdict.reason}"
        if condition.readable:
            return READ_ONLY, f"takes no writes; reads are served: {condition.reason}"
        return FAILED, f"does not answer: {condition.reason}"
    if verdict.state is State.LIVE:
        return OK, "answers"
    return SLOW if verdict.state is State.SLOW else OK, f"is {verdict.state}: {verdict.reason}"


def neighbours(node: str, peers: Sequence[Peer]) -> list[Peer]:
    """Whom a node probes: the next ones in the circle of names."""
    ordered = sorted((peer for peer in peers if peer.node != node), key=lambda peer: peer.node)
    after = [peer for peer in ordered if peer.node > node]
    return (after + ordered[: len(ordered) - len(after)])[:PEERS_PROBED_MAX]
