"""Long-lived sessions on a few gateways: where they land as they come and go. Deterministic by seed.

Three nodes answer clients, each from reports that are up to a second old and from its own answers since. A client is
either told one gateway (`choose`) or given a ranking, from which it draws by weight (`rank`).
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from bench.balance.balancer import Balancer
from posthouse.balance.guards import Guards
from posthouse.balance.policy import By
from posthouse.balance.report import LoadReport

NODES = 3
SESSIONS_PER_GATEWAY = 500
LIFETIME_S = 300.0
STEADY_AT_S = 900.0
"""Three lifetimes: by then nothing is left of the beginning."""


@dataclass(frozen=True)
class Gateway:
    """`size` is what it can really bear, `weight` what the configuration says."""

    name: str
    size: float = 1.0
    weight: float = 1.0
    since: float = -1000.0
    until: float = float("inf")


@dataclass(frozen=True)
class Scenario:
    gateways: tuple[Gateway, ...]
    measured_at_s: float = STEADY_AT_S
    by: By = "connections"


@dataclass(frozen=True)
class Outcome:
    """`spread`: sessions per size on the fullest gateway over the mean. `peak_per_s`: most arrivals at one gateway."""

    spread: float
    peak_per_s: int


class Simulation:
    """Runs one scenario with one policy and one seed."""

    def __init__(self, scenario: Scenario, policy: str, by_list: bool, seed: int) -> None:
        self._scenario = scenario
        self._chance = random.Random(seed)
        self._nodes = [
            Balancer(policy, scenario.by, Guards(), random.Random(f"{seed} {n}")) for n in range(NODES)
        ]
        self._choose: Callable[[Balancer], str] = Balancer.choose_from_list if by_list else Balancer.choose
        self._ends: list[tuple[float, str]] = []
        self._sessions: Counter[str] = Counter()
        self._waiting = 0
        self._peak = 0

    def run(self) -> Outcome:
        for second in range(int(self._scenario.measured_at_s)):
            self._end_sessions(float(second))
            reports = [self._report(gateway, float(second)) for gateway in self._open(second)]
            for node in self._nodes:
                node.see(reports, float(second))
            self._connect(second)
        return Outcome(self._spread(), self._peak)

    def _open(self, now: float) -> list[Gateway]:
        return [gateway for gateway in self._scenario.gateways if gateway.since <= now < gateway.until]

    def _end_sessions(self, now: float) -> None:
        """Sessions end; those of a gateway that died come again within the same second."""
        names = {gateway.name for gateway in self._open(now)}
        while self._ends and self._ends[0][0] <= now:
            _, name = heapq.heappop(self._ends)
            self._sessions[name] -= 1
        for name in self._sessions.keys() - names:
            self._waiting += self._sessions.pop(name)
            self._ends = [end for end in self._ends if end[1] != name]
            heapq.heapify(self._ends)

    def _connect(self, second: int) -> None:
        gateways = [gateway for gateway in self._scenario.gateways if gateway.since <= 0]
        expected = len(gateways) * SESSIONS_PER_GATEWAY / LIFETIME_S
        arrivals = self._waiting + self._poisson(expected)
        self._waiting = 0
        landed: Counter[str] = Counter()
        for _ in range(arrivals):
            name = self._choose(self._chance.choice(self._nodes))
            landed[name] += 1
            heapq.heappush(self._ends, (second + self._chance.expovariate(1 / LIFETIME_S), name))
        self._sessions.update(landed)
        if second >= STEADY_AT_S:
            self._peak = max(self._peak, *landed.values(), 0)

    def _poisson(self, mean: float) -> int:
        number, passed = 0, self._chance.expovariate(mean)
        while passed < 1:
            number, passed = number + 1, passed + self._chance.expovariate(mean)
        return number

    def _report(self, gateway: Gateway, now: float) -> LoadReport:
        """Work and its cost grow with the sessions; latency grows as one over what is left."""
        sessions = self._sessions[gateway.name]
        busy = min(0.99, sessions / gateway.size / SESSIONS_PER_GATEWAY / 2)
        return LoadReport(
            gateway.name,
            at=now,
            connections=sessions,
            deliveries_per_s=float(sessions),
            cpu=busy,
            in_flight=round(busy / (1 - busy)),
            latency_ms=1 / (1 - busy),
            since=gateway.since,
            weight=gateway.weight,
        )

    def _spread(self) -> float:
        gateways = self._open(self._scenario.measured_at_s)
        fullness = [self._sessions[gateway.name] / gateway.size for gateway in gateways]
        mean = sum(self._sessions.values()) / sum(gateway.size for gateway in gateways)
        return max(fullness) / mean
