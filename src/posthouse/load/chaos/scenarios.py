"""What is done to a cluster in each scenario, and how long a client may then be without deliveries.

Each is one row of the table in docs/chaos.md. A scenario returns the windows of time to look at.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from posthouse.app.secrets import DEFAULT_APP
from posthouse.load.chaos.crew import Standing
from posthouse.load.chaos.site import Site, databases_of
from posthouse.model.ids import shard_of
from posthouse.storage.append import SHARDS

NOTHING_S = 1.0
"""Nothing noticed: no client is without a delivery for longer than this, of two groups with a steady beat."""
AFTER_S = 8.0
SETTLED_S = 8.0
SETTLING_ROUNDS_MAX = 6
FULLEST_MAX = 1.1
MOVED_SHARE_MAX = 0.25
BACK_S = 10.0
QUERIES_MAX = 2.0


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


class Scenario(NamedTuple):
    """`act` does it all, repairs included, while the clients go on. The first window is the one that is reported."""

    name: str
    title: str
    story: str
    budget_s: float
    act: Callable[[Site], Awaitable[list[Window]]]
    clients: int = 0
    """0: as many as are asked for."""
    balancer: bool = False
    """True: clients begin with a connection through HAProxy, without which there is nothing to run."""
    spoils: bool = False
    """True: the cluster is another one afterwards, and no use to the next scenario."""


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


async def join_node(site: Site) -> list[Window]:
    before = await _settled(site)
    begun = site.now()
    await site.do("add-node", "", "note")
    await site.sleep(120)
    until = site.now()
    standing = await site.standings()
    mean, fullest = standing.connected / len(standing.nodes), max(standing.nodes.values())
    if len(standing.nodes) < 4 or fullest > FULLEST_MAX * mean:
        site.breaches.append(f"After 120 s the nodes have {sorted(standing.nodes.values())} clients.")
    if len(standing.moved) > MOVED_SHARE_MAX * standing.clients:
        site.breaches.append(
            f"{len(standing.moved)} of {standing.clients} clients were moved: "
            f"from {sorted(before.nodes.items())} to {sorted(standing.nodes.items())}."
        )
    again = sum(times > 1 for times in standing.moved.values())
    if again:
        site.breaches.append(f"{again} clients were moved more than once.")
    return [Window("while it joins", begun, until, NOTHING_S)]


async def _settled(site: Site) -> Standing:
    """Wait until nobody has been moved for a while: those moves are not the newcomer's."""
    rounds, moved = 0, True
    while moved and rounds < SETTLING_ROUNDS_MAX:
        rounds += 1
        await site.watch()
        await site.sleep(SETTLED_S)
        moved = bool((await site.standings()).moved)
    await site.watch()
    return await site.standings()


async def cut_off_storm(site: Site) -> list[Window]:
    await site.watch()
    queries, since = await site.transactions(), site.now()
    await site.sleep(10)
    usual_per_s = (await site.transactions() - queries) / (site.now() - since)
    queries, begun = await site.transactions(), site.now()
    cut = await site.cut_off()
    await site.sleep(10)
    per_s = (await site.transactions() - queries) / (site.now() - begun)
    await site.sleep(AFTER_S)
    standing = await site.standings()
    site.note(f"{per_s:.0f} queries/s after the cut, {usual_per_s:.0f} before", "note", begun + 10)
    last_s = standing.last_connected_at - begun
    if cut < standing.clients or standing.connected < standing.clients or last_s > BACK_S:
        site.breaches.append(
            f"{standing.connected} of {standing.clients} are back, the last after {last_s:.1f} s."
        )
    if per_s > QUERIES_MAX * usual_per_s:
        site.breaches.append(f"{per_s:.0f} queries a second after the cut, {usual_per_s:.0f} before it.")
    return [Window("after the cut", begun, site.now(), BACK_S, measured=await site.back(begun))]


async def move_shard(site: Site) -> list[Window]:
    databases = databases_of(await site.status())
    conv = next(conv for conv, database in site.scopes.items() if database == databases[0])
    shard = str(shard_of(DEFAULT_APP, conv, SHARDS))
    file = str(site.cluster.folder / "node-1" / "posthouse.toml")
    windows = []
    for to in (databases[-1], databases[0]):
        begun = site.now()
        site.note(f"shard {shard} moves to {to}", "fault")
        await site.run_command("shards", "move", shard, "--to", to, "--config", file)
        await site.sleep(AFTER_S)
        windows.append(Window(f"the shard moved to {to}", begun, site.now(), NOTHING_S, conv))
    return windows


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
            "All clients are connected through it. They go to the nodes directly: they have learnt their addresses.",
            3.0,
            kill_balancer,
            balancer=True,
        ),
        Scenario(
            "join-node",
            "A fourth node joins",
            "Clients are moved to the new node, a few at a time, until all nodes have about the same: after 120 s the "
            "fullest has at most 1.1 times the mean, at most a quarter of the clients were moved, each at most once.",
            NOTHING_S,
            join_node,
            spoils=True,
        ),
        Scenario(
            "cut-off-storm",
            "3,000 clients are cut off at once",
            "Every connection breaks in the same moment. All are back within 10 s, by resuming, and meanwhile the "
            "databases have at most twice their usual queries.",
            BACK_S,
            cut_off_storm,
            clients=3_000,
        ),
        Scenario(
            "move-shard",
            "A shard is moved to another database, and back",
            "Messages in its conversations go on; writes to it stand still for less than a second.",
            NOTHING_S,
            move_shard,
        ),
    )
}
