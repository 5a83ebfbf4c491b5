"""What a scenario is, and the windows of time in which clients are looked at. No more than types and their words."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from posthouse.load.chaos.site import Site, databases_of
from posthouse.testing.playground.plan import Plan

NOTHING_S = 1.0
"""Nothing noticed: no client is without a delivery for longer than this, of two groups with a steady beat."""
AFTER_S = 8.0


class Window(NamedTuple):
    """A time in which no more than 1 % of the clients may be without deliveries for longer than `budget_s`."""

    what: str
    since: float
    until: float
    budget_s: float
    scope: str = ""
    """The database whose conversations count, or the conversation; empty: all."""
    measured: Sequence[float] | None = None
    """Every client's pause, where that is not its longest time without a delivery."""
    sends_s: float | None = None
    """So long the slowest send of a client may wait for its ack, but for 1 % of them; None: until the repair."""
    shown: bool = False
    """True: the scenario's sign is one of this window's fault, and need not come for those before."""


def _as_it_is(plan: Plan) -> Plan:
    return plan


def _nothing() -> str:
    return ""


class Scenario(NamedTuple):
    """`act` does it all, repairs included, while the clients go on. The first window is the one that is reported, or
    another one that is allowed as much if it was worse."""

    name: str
    title: str
    story: str
    budget_s: float
    act: Callable[[Site], Awaitable[list[Window]]]
    sign: str = ""
    """What the nodes' events must say once the first window's fault is found: a regular expression. Empty: nobody
    need find it."""
    clients: int = 0
    """0: as many as are asked for."""
    balancer: bool = False
    """True: clients begin with a connection through HAProxy."""
    spoils: bool = False
    """True: the cluster is another one afterwards, and no use to the next scenario."""
    promise: str = "G5"
    plan: Callable[[Plan], Plan] = _as_it_is
    """The cluster that it needs."""
    missing: Callable[[], str] = _nothing
    """Why it cannot be run on this machine; empty where it can."""
    varied: bool = False
    """True: every window has a budget of its own, and the one that used up most of it is reported."""


async def others(site: Site, since: float) -> list[Window]:
    """The other databases notice nothing."""
    names = [name for name in databases_of(await site.status()) if name != "a"]
    return [Window(f"database {name}'s shards", since, site.now(), NOTHING_S, name) for name in names]
