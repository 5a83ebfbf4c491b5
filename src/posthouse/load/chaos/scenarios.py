"""What is done to a cluster in each scenario, and how long a client may then be without deliveries.

Each is one row of the table in docs/chaos.md. A scenario returns the windows of time to look at.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from posthouse.load.chaos.site import Site, databases_of

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
    """The database whose conversations count; empty: all."""


class Scenario(NamedTuple):
    """`act` does it all, repairs included, while the clients go on. The first window is the one that is reported."""

    name: str
    title: str
    story: str
    budget_s: float
    act: Callable[[Site], Awaitable[list[Window]]]


async def kill_node(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("kill", "node-2")
    await site.sleep(12)
    await site.repair("start", "node-2")
    await site.sleep(AFTER_S)
    return [Window("after the kill", begun, site.now(), 2.0)]


async def freeze_node(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("pause", "node-2")
    await site.sleep(20)
    thawed = site.now()
    await site.repair("resume", "node-2")
    await site.sleep(AFTER_S)
    return [Window("frozen", begun, thawed, 8.0), Window("thawed", thawed, site.now(), 2.0)]


async def rolling_restart(site: Site) -> list[Window]:
    begun = site.now()
    nodes = [part.name for part in (await site.status()).parts if part.group == "node"]
    for node in nodes:
        await site.do("stop", node, "note")
        await site.do("start", node, "note")
    await site.sleep(AFTER_S)
    failed = (await site.standings()).failed
    if failed:
        site.breaches.append(f"{failed} sends failed.")
    return [Window("the restarts", begun, site.now(), 1.0)]


async def kill_cache_primary(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("kill", "cache primary")
    await site.sleep(15)
    await site.repair("start", "cache")
    await site.sleep(AFTER_S)
    return [Window("after the kill", begun, site.now(), 5.0)]


async def wipe_cache(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("kill", "cache")
    await site.sleep(20)
    back = site.now()
    await site.repair("start", "cache")
    await site.sleep(20)
    return [
        Window("without a cache", begun, back, 2.0),
        Window("5 s after it is back", back + 5, site.now(), NOTHING_S),
    ]


async def kill_database_primary(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("kill", "database-a primary")
    await site.sleep(40)
    until = site.now()
    await site.repair("start", "database-a")
    await site.sleep(AFTER_S)
    return [Window("its shards", begun, until, 30.0, "a"), *await _others(site, begun)]


async def kill_database_replica(site: Site) -> list[Window]:
    killed = site.now()
    await site.do("kill", "database-a sync")
    await site.sleep(15)
    until = site.now()
    await site.repair("start", "database-a")
    await site.healthy()
    frozen = site.now()
    await site.do("pause", "database-a sync")
    await site.sleep(20)
    thawed = site.now()
    await site.repair("resume", "database-a")
    await site.sleep(AFTER_S)
    return [
        Window("killed: its shards", killed, until, 10.0, "a"),
        Window("frozen: its shards", frozen, thawed, 10.0, "a"),
        *await _others(site, killed),
    ]


async def kill_etcd(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("kill", "etcd leader")
    await site.sleep(30)
    await site.repair("start", "etcd")
    await site.sleep(AFTER_S)
    return [Window("after the kill", begun, site.now(), NOTHING_S)]


async def kill_balancer(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("kill", "haproxy")
    await site.sleep(12)
    await site.repair("start", "haproxy")
    await site.sleep(AFTER_S)
    return [Window("after the kill", begun, site.now(), 3.0)]


async def _others(site: Site, since: float) -> list[Window]:
    """The other databases notice nothing."""
    others = [name for name in databases_of(await site.status()) if name != "a"]
    return [Window(f"database {name}'s shards", since, site.now(), NOTHING_S, name) for name in others]


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "kill-node",
            "A node is killed",
            "One of three nodes is killed in mid-sentence. Its clients find another one, resume there and send again "
            "what was not acknowledged.",
            2.0,
            kill_node,
        ),
        Scenario(
            "freeze-node",
            "A node is frozen, and thawed later",
            "One of three nodes stands still: its connections stay open and are silent. Its clients notice by a missed "
            "heartbeat (5 s) and go elsewhere. Thawed, it must not disturb what has gone on without it.",
            8.0,
            freeze_node,
        ),
        Scenario(
            "rolling-restart",
            "All nodes are restarted, one after the other",
            "Each node is told to end, drains (its clients are told where and when to go), and is started again.",
            1.0,
            rolling_restart,
        ),
        Scenario(
            "kill-cache-primary",
            "The cache's primary is killed",
            "Sentinel makes a replica the primary. What was only in the cache may be lost; no message is.",
            5.0,
            kill_cache_primary,
        ),
        Scenario(
            "wipe-cache",
            "All cache servers are killed, and come back empty",
            "Without a cache, nodes read what is new from the databases. 5 s after it is back, all is as before.",
            2.0,
            wipe_cache,
        ),
        Scenario(
            "kill-database-primary",
            "A database's primary is killed",
            "Patroni makes the synchronous standby the primary, after 20 s at the earliest. Meanwhile sends to this "
            "database's shards wait in the clients; those to the other database's shards go on.",
            30.0,
            kill_database_primary,
        ),
        Scenario(
            "kill-database-replica",
            "A database's synchronous standby is killed, then frozen",
            "Nothing is acknowledged until Patroni has made another standby synchronous. The other database goes on.",
            10.0,
            kill_database_replica,
        ),
        Scenario(
            "kill-etcd",
            "The leading etcd member is killed",
            "The two others go on. Clients notice nothing.",
            NOTHING_S,
            kill_etcd,
        ),
        Scenario(
            "kill-balancer",
            "HAProxy is killed",
            "Clients go to the nodes directly: they have learnt their addresses.",
            3.0,
            kill_balancer,
        ),
    )
}
