"""Short requests against a few servers with queues: a discrete-event simulation, deterministic by seed.

A balancer knows at once what it sends itself. Of the others' sending it learns what an answer or a probe brings along:
the server's requests in flight, and its latency at that many. Rates come with the server's report, each second.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import inf

from msgspec.structs import replace

from bench.balance.balancer import Balancer
from posthouse.balance.guards import Guards
from posthouse.balance.report import LoadReport

SERVICE_MS = 10.0
FAILURE_MS = 1.0
FAULT_AT_S = 15.0
QUEUE_MAX = 100
"""Requests at one server; one more is refused, which counts as an error."""

DEFAULT = Guards()
Happening = Callable[[float], None]


@dataclass(frozen=True)
class Kind:
    """A server as it is made. `speed` 0.5 needs twice as long, whatever `weight` says; one that joins starts cold."""

    speed: float = 1.0
    weight: float = 1.0
    joins_at_s: float = -inf
    warm_up_s: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """`load` is a share of what the servers can do before anything happens; what happens does so at `FAULT_AT_S`."""

    kinds: tuple[Kind, ...]
    load: float
    balancers: int = 3
    probes: int = 0
    """Servers whose state a balancer asks for with each request."""
    neighbour_every_s: float = 0.0
    """Each time, another server runs at `NEIGHBOUR_SPEED`, as if its machine had a busy neighbour."""
    first_fails: bool = False
    guards: Guards = DEFAULT
    seconds: float = 60.0


NEIGHBOUR_SPEED = 0.4


@dataclass
class Request:
    at: float
    balancer: int
    met: int
    """How many were in flight at the server when it came."""


@dataclass
class Server:
    """One worker and its queue, whose head is being served."""

    name: str
    kind: Kind
    neighbour: float = 1.0
    failing: bool = False
    queue: deque[Request] = field(default_factory=deque)
    report: LoadReport = field(default_factory=lambda: LoadReport(""))
    latency_ms: dict[int, float] = field(default_factory=dict)
    good: int = 0
    bad: int = 0
    busy_ms: float = 0.0

    def service_ms(self, now: float, chance: random.Random) -> float:
        if self.failing:
            return FAILURE_MS
        kind = self.kind
        warmth = min(1.0, 0.2 + 0.8 * (now - kind.joins_at_s) / kind.warm_up_s) if kind.warm_up_s else 1.0
        return chance.expovariate(1 / SERVICE_MS) / (kind.speed * warmth * self.neighbour)

    def learn(self, request: Request, now: float) -> None:
        """Remember how long a request took that came when so many were in flight: what Prequal's probes ask for."""
        taken_ms = (now - request.at) * 1000
        known_ms = self.latency_ms.get(request.met, taken_ms)
        self.latency_ms[request.met] = known_ms + 0.1 * (taken_ms - known_ms)

    def state(self, now: float) -> LoadReport:
        """The last second's rates with what is in flight now, and the latency at about as many."""
        here = len(self.queue)
        nearest = min(self.latency_ms, key=lambda met: abs(met - here), default=None)
        latency_ms = self.latency_ms[nearest] if nearest is not None else 0.0
        return replace(self.report, at=now, in_flight=here, latency_ms=latency_ms)

    def end_second(self) -> None:
        self.report = LoadReport(
            self.name,
            cpu=min(1.0, self.busy_ms / 1000),
            deliveries_per_s=self.good,
            errors_per_s=self.bad,
            since=self.kind.joins_at_s,
            weight=self.kind.weight,
        )
        self.good, self.bad, self.busy_ms = 0, 0, 0.0


@dataclass
class Outcome:
    """What clients saw from `FAULT_AT_S` on."""

    latencies_ms: list[float] = field(default_factory=list)
    requests: int = 0
    errors: int = 0


class Simulation:
    """Runs one scenario with one policy and one seed."""

    def __init__(self, scenario: Scenario, policy: str, seed: int) -> None:
        self._scenario = scenario
        self._chance = random.Random(seed)
        self._servers = {f"server-{n}": Server(f"server-{n}", kind) for n, kind in enumerate(scenario.kinds)}
        self._balancers = [
            Balancer(policy, "in-flight", scenario.guards, random.Random(f"{seed} {n}"))
            for n in range(scenario.balancers)
        ]
        self._known: list[dict[str, LoadReport]] = [{} for _ in self._balancers]
        self._events: list[tuple[float, int, Happening]] = []
        self._order = count()
        self._outcome = Outcome()

    def run(self) -> Outcome:
        self._second(0.0)
        self._arrive(0.0)
        if self._scenario.neighbour_every_s:
            self._move_neighbour(0.0)
        if self._scenario.first_fails:
            self._at(FAULT_AT_S, self._fail)
        while self._events[0][0] < self._scenario.seconds:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
        return self._outcome

    def _at(self, when: float, happen: Happening) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))

    def _second(self, now: float) -> None:
        for server in self._present(now):
            server.end_second()
            for balancer in range(len(self._balancers)):
                self._tell(balancer, server, now)
        self._at(now + 1, self._second)

    def _present(self, now: float) -> list[Server]:
        return [server for server in self._servers.values() if server.kind.joins_at_s <= now]

    def _tell(self, balancer: int, server: Server, now: float) -> None:
        self._known[balancer][server.name] = server.state(now)

    def _fail(self, now: float) -> None:
        self._servers["server-0"].failing = True

    def _move_neighbour(self, now: float) -> None:
        for server in self._servers.values():
            server.neighbour = 1.0
        self._chance.choice(list(self._servers.values())).neighbour = NEIGHBOUR_SPEED
        self._at(now + self._scenario.neighbour_every_s, self._move_neighbour)

    def _arrive(self, now: float) -> None:
        capacity = sum(kind.speed for kind in self._scenario.kinds if kind.joins_at_s <= 0)
        per_s = self._scenario.load * capacity * 1000 / SERVICE_MS
        self._at(now + self._chance.expovariate(per_s), self._arrive)
        number = self._chance.randrange(len(self._balancers))
        for server in self._chance.sample(self._present(now), self._scenario.probes):
            self._tell(number, server, now)
        self._send(number, now)

    def _send(self, number: int, now: float) -> None:
        known, balancer = self._known[number], self._balancers[number]
        balancer.see(known.values(), now)
        server = self._servers[balancer.choose()]
        known[server.name] = replace(known[server.name], in_flight=known[server.name].in_flight + 1)
        self._outcome.requests += now >= FAULT_AT_S
        if len(server.queue) >= QUEUE_MAX:
            self._refuse(number, server, now)
            return
        server.queue.append(Request(now, number, len(server.queue)))
        if len(server.queue) == 1:
            self._serve(server, now)

    def _refuse(self, number: int, server: Server, now: float) -> None:
        server.bad += 1
        self._outcome.errors += now >= FAULT_AT_S
        self._tell(number, server, now)

    def _serve(self, server: Server, now: float) -> None:
        service_ms = server.service_ms(now, self._chance)
        server.busy_ms += service_ms
        self._at(now + service_ms / 1000, lambda then: self._answer(server, then))

    def _answer(self, server: Server, now: float) -> None:
        request = server.queue.popleft()
        server.learn(request, now)
        server.good += not server.failing
        server.bad += server.failing
        if now >= FAULT_AT_S:
            self._outcome.errors += server.failing
            self._outcome.latencies_ms += [] if server.failing else [(now - request.at) * 1000]
        self._tell(request.balancer, server, now)
        if server.queue:
            self._serve(server, now)
