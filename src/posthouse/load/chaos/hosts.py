"""Servers are killed, frozen and restarted, nodes join, clients are cut off: the rows of the cluster's table."""

from posthouse.app.secrets import DEFAULT_APP
from posthouse.load.chaos.crew import Standing
from posthouse.load.chaos.scenario import AFTER_S, NOTHING_S, Window, others
from posthouse.load.chaos.site import Site, databases_of
from posthouse.model.ids import shard_of
from posthouse.storage.append import SHARDS

SETTLED_S = 8.0
SETTLING_ROUNDS_MAX = 6
FULLEST_MAX = 1.1
MOVED_SHARE_MAX = 0.25
BACK_S = 10.0
QUERIES_MAX = 2.0


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
    return [Window("its shards", begun, until, 30.0, "a"), *await others(site, begun)]


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
        *await others(site, killed),
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
