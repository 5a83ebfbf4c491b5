"""Policies by the names that the configuration uses. Pure."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from posthouse.balance.adaptive import DynamicWeights, Prequal
from posthouse.balance.classic import LeastLoad, RoundRobin, StaticWeights, TwoChoices
from posthouse.balance.policy import By, Policy

_POLICIES: dict[str, Callable[[By], Policy[Any]]] = {
    "static-weights": lambda by: StaticWeights(),
    "round-robin": lambda by: RoundRobin(weighted=False),
    "weighted-round-robin": lambda by: RoundRobin(weighted=True),
    "least-connections": lambda by: LeastLoad(by, weighted=False),
    "weighted-least-connections": lambda by: LeastLoad(by, weighted=True),
    "two-choices": TwoChoices,
    "dynamic-weights": lambda by: DynamicWeights(),
    "prequal": lambda by: Prequal(),
}

NAMES = tuple(_POLICIES)


class UnknownPolicy(ValueError):
    """No policy has this name; the message names the nearest and all there are."""

    def __init__(self, name: str) -> None:
        near = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"no policy is called {name!r}; {hint}There are {', '.join(NAMES)}.")


def policy(name: str, by: By = "connections") -> Policy[Any]:
    """The policy called `name`. `by` says what load is for those that look at it. Raises `UnknownPolicy`."""
    if name not in _POLICIES:
        raise UnknownPolicy(name)
    return _POLICIES[name](by)
