"""Two faults at once, and faults at random under a seed."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from posthouse.load.chaos.scenario import AFTER_S, Window, others
from posthouse.load.chaos.site import Site
from posthouse.testing.playground.plan import Refused

ROUNDS = 5
TWO_SHARE = 0.4
"""Of the rounds, so many have a second fault."""
HELD_S = (5.0, 12.0)


async def node_and_cache(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("kill", "node-2")
    await site.do("kill", "cache primary")
    await site.sleep(15)
    await site.repair("start", "node-2")
    await site.repair("start", "cache")
    await site.sleep(AFTER_S)
    return [Window("after the kills", begun, site.now(), 5.0)]


async def two_database_hosts(site: Site) -> list[Window]:
    """The primary and its only synchronous standby: nobody else may take over, and sends are refused."""
    begun = site.now()
    standby = await site.do("pause", "database-a sync")
    await site.do("kill", "database-a primary")
    await site.do("kill", standby)
    dead = site.now()
    await site.sleep(30)
    back = site.now()
    acked = await site.acks(dead + 1, back, "a")
    if acked:
        site.breaches.append(f"{acked} sends were acknowledged while no database host could make them safe.")
    if not await site.refusals(dead, back):
        site.breaches.append("No send was refused while no database host could make it safe.")
    await site.repair("start", "database-a")
    await site.sleep(35)
    return [
        Window("from when both are started again", back, site.now(), 30.0, "a"),
        *await others(site, begun),
    ]


class Fault(NamedTuple):
    """One that may be drawn. `part`: whose trouble it is; two of one part are not drawn together. `{n}`: a node."""

    part: str
    verb: str
    what: str
    undo: str
    budget_s: float
    scope: str = ""
    held_s: float = 0.0
    """It lasts at least so long."""


MENU = (
    Fault("node", "kill", "node-{n}", "start", 2.0),
    Fault("node", "pause", "node-{n}", "resume", 8.0),
    Fault("node", "cut", "node-{n}", "heal", 8.0),
    Fault("node", "reset", "node-{n}", "", 2.0),
    Fault("node", "half-open", "node-{n}", "", 8.0),
    Fault("cache", "kill", "cache primary", "start", 5.0),
    Fault("cache", "pause", "cache primary", "resume", 5.0),
    Fault("cache", "kill", "cache", "start", 3.0),
    Fault("database", "kill", "database-a primary", "start", 30.0, "a", 32.0),
    Fault("database", "cut", "database-a primary", "heal", 30.0, "a", 32.0),
    Fault("database", "kill", "database-a sync", "start", 10.0, "a", 12.0),
    Fault("database", "pause", "database-a sync", "resume", 10.0, "a", 12.0),
    Fault("etcd", "kill", "etcd leader", "start", 1.0),
    Fault("balancer", "kill", "haproxy", "start", 3.0),
)


def drawn(chance: random.Random) -> list[Fault]:
    """The faults of one round: one, or two of different parts."""
    first = chance.choice(MENU)
    faults = [first]
    if chance.random() < TWO_SHARE:
        faults.append(chance.choice([fault for fault in MENU if fault.part != first.part]))
    node = chance.randrange(1, 4)
    return [fault._replace(what=fault.what.format(n=node)) for fault in faults]


def allowed(faults: Sequence[Fault]) -> tuple[float, str]:
    """How long clients may pause, and in which database's conversations that is looked at.

    One fault after the other may have to be overcome, so two are allowed as much as both.
    """
    scope = next((fault.scope for fault in faults if fault.scope), "")
    return sum(fault.budget_s for fault in faults), scope


async def at_random(site: Site) -> list[Window]:
    chance = random.Random(site.load.seed)
    return [await _round(site, drawn(chance), chance.uniform(*HELD_S)) for _ in range(ROUNDS)]


async def _round(site: Site, faults: Sequence[Fault], held_s: float) -> Window:
    begun = site.now()
    hit = []
    for fault in faults:
        try:
            hit.append((fault, await site.do(fault.verb, fault.what)))
        except Refused:  # there is no such role just now, because of the other fault
            site.note(f"not done: {fault.verb} {fault.what}", "note")
    await site.sleep(max([held_s, *(fault.held_s for fault in faults)]))
    for fault, names in hit:
        if fault.undo:
            await site.repair(fault.undo, fault.what if ", " in names else names)
    await site.healthy()
    until = site.now()
    await site.sleep(AFTER_S)
    budget_s, scope = allowed(faults)
    what = " and ".join(f"{fault.verb} {fault.what}" for fault in faults)
    return Window(what, begun, until, budget_s, scope)
