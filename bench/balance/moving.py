"""A node joins others that hold all the sessions: who is moved, and how even it gets. Deterministic by seed.

Each node decides by itself, with the code that runs in production, on reports that are up to a second old, and sheds
its own sessions only. A moved session is away for a moment and then counts where it was sent.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from posthouse.balance.director import Director
from posthouse.balance.guards import Guards
from posthouse.balance.named import policy
from posthouse.balance.rebalancing import Pace, RebalanceRule, receiver, step
from posthouse.balance.report import LoadReport

TICKS_PER_S = 4
AWAY_S = 0.5
RULE, GUARDS, START = RebalanceRule(), Guards(), Pace()


@dataclass(frozen=True)
class Scenario:
    """`sessions` by node at the start; the last `joining` nodes join then. Sessions live `lifetime_s` on average."""

    sessions: tuple[int, ...]
    weights: tuple[float, ...]
    joining: int = 1
    lifetime_s: float = 1800.0
    rule: RebalanceRule | None = RULE


@dataclass(frozen=True)
class Outcome:
    """`spread`: sessions per weight on the fullest node over the mean, each second. `moved`: their share of all."""

    spread: list[float]
    moved: float
    moves_of_one_max: int
    arrivals_per_s_max: int


@dataclass
class Session:
    moves: int = 0


@dataclass
class Node:
    name: str
    weight: float
    since: float
    director: Director
    chance: random.Random
    phase_s: float
    pace: Pace = START
    sessions: list[Session] = field(default_factory=list)


class Simulation:
    """Runs one scenario with one seed."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._chance = random.Random(seed)
        first_new = len(scenario.sessions) - scenario.joining
        self._nodes = {
            f"n{n}": Node(
                f"n{n}",
                scenario.weights[n],
                0.0 if n >= first_new else -1e6,
                Director(policy("two-choices"), GUARDS),
                random.Random(f"{seed} {n}"),
                self._chance.random(),
                sessions=[Session() for _ in range(count)],
            )
            for n, count in enumerate(scenario.sessions)
        }
        self._everyone = sum(scenario.sessions)
        self._reports = {name: self._report(node, 0.0) for name, node in self._nodes.items()}
        self._away: list[tuple[float, str, Session]] = []
        self._ever: list[Session] = [each for node in self._nodes.values() for each in node.sessions]
        self._arrivals: dict[tuple[str, int], int] = {}

    def run(self, seconds: int) -> Outcome:
        spread = []
        for second in range(seconds):
            for tick in range(TICKS_PER_S):
                self._tick(second + tick / TICKS_PER_S)
            spread.append(self._spread())
        return Outcome(
            spread,
            sum(each.moves > 0 for each in self._ever) / self._everyone,
            max(each.moves for each in self._ever),
            max(self._arrivals.values(), default=0),
        )

    def _tick(self, now: float) -> None:
        self._land(now)
        for node in self._nodes.values():
            if int((now - node.phase_s) * TICKS_PER_S) % TICKS_PER_S == 0:
                self._reports[node.name] = self._report(node, now)
        for node in self._nodes.values():
            own = self._report(node, now)
            node.director.see((self._reports | {node.name: own}).values(), now)
            if self._scenario.rule is not None:
                self._shed(node, self._scenario.rule, now)
        self._come_and_go(now)

    def _report(self, node: Node, now: float) -> LoadReport:
        count = len(node.sessions)
        return LoadReport(node.name, at=now, connections=count, since=node.since, weight=node.weight)

    def _shed(self, node: Node, rule: RebalanceRule, now: float) -> None:
        shed, node.pace = step(node.director.snapshot, node.name, node.pace, rule)
        unmoved = [each for each in node.sessions if not each.moves]
        for session in node.chance.sample(unmoved, min(shed.sessions, len(unmoved))):
            target = receiver(node.director.snapshot, node.name, node.chance.random()).target
            if target is None:
                return
            node.director.hand(target, now)
            node.sessions.remove(session)
            session.moves += 1
            self._away.append((now + AWAY_S, target, session))

    def _land(self, now: float) -> None:
        for at, name, session in self._away:
            if at <= now:
                self._nodes[name].sessions.append(session)
                place = name, int(now)
                self._arrivals[place] = self._arrivals.get(place, 0) + 1
        self._away = [each for each in self._away if each[0] > now]

    def _come_and_go(self, now: float) -> None:
        """Whoever leaves comes again at once, as somebody new, where a random node says."""
        left = 0
        for node in self._nodes.values():
            stay = [each for each in node.sessions if node.chance.random() > 1 / self._ticks_of_life]
            left += len(node.sessions) - len(stay)
            node.sessions = stay
        for _ in range(left):
            asked = self._chance.choice(list(self._nodes.values()))
            decision = asked.director.choose(self._chance.random(), now)
            assert decision.target is not None, decision.reason
            session = Session()
            self._ever.append(session)
            self._nodes[decision.target].sessions.append(session)

    @property
    def _ticks_of_life(self) -> float:
        return self._scenario.lifetime_s * TICKS_PER_S

    def _spread(self) -> float:
        nodes = self._nodes.values()
        mean = self._everyone / sum(node.weight for node in nodes)
        return max(len(node.sessions) / node.weight for node in nodes) / mean


def settled_s(spread: Sequence[float], bound: float) -> int:
    """The second from which on the spread stays within the bound; their number when it never does."""
    late = [second for second, value in enumerate(spread) if value > bound]
    return late[-1] + 1 if late else 0
