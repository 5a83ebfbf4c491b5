"""One balancer of a simulation: what it knows, its policy with its state, its guards. It runs the real code."""

import random
from collections.abc import Iterable
from typing import Any

from posthouse.balance.guards import Ejections, Guards, guarded
from posthouse.balance.named import policy
from posthouse.balance.policy import By, draw
from posthouse.balance.report import LoadReport, Snapshot, assign


class Balancer:
    """`see` what is reported, then `choose` any number of times; its own choices count until it sees again."""

    def __init__(self, name: str, by: By, guards: Guards, chance: random.Random) -> None:
        self._policy = policy(name, by)
        self._state: Any = self._policy.start()
        self._guards = guards
        self._chance = chance
        self._ejections: Ejections = {}
        self._snapshot = Snapshot(0.0, ())

    def see(self, reports: Iterable[LoadReport], now: float) -> None:
        self._snapshot, self._ejections = guarded(reports, now, self._ejections, self._guards)

    def choose(self) -> str:
        """The policy's choice; there always is one in these simulations."""
        decision, self._state = self._policy.choose(self._snapshot, self._state, self._chance.random())
        assert decision.target is not None, decision.reason
        self._snapshot = assign(self._snapshot, decision.target)
        return decision.target

    def choose_from_list(self) -> str:
        """What a client does with a ranking, as that of `GET /v1/endpoints`: it draws by weight."""
        ranking = self._policy.rank(self._snapshot)
        index, _ = draw(list(ranking.values()), self._chance.random())
        return list(ranking)[index]
