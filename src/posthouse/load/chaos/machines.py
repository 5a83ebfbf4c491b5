"""What goes wrong inside a machine: its disk, its clock, one of its processes, and the release that it runs."""

from msgspec.structs import replace

from posthouse.load.chaos.scenario import AFTER_S, Window, others
from posthouse.load.chaos.site import Site
from posthouse.testing.playground.plan import Plan
from posthouse.testing.releases import NoHistory, commit_before

FSYNC_DELAY_MS = 300.0
DISK_MIB = 700
"""Room for a database of the playground, its write-ahead log, and some minutes of messages."""
APART_S = 120.0
RESTARTED_WITHIN_S = 30.0
UPGRADE_S = 3.0
"""The release before the newest migration did not drain yet: it sends all away at once, to come back within 2 s."""


async def slow_disk(site: Site) -> list[Window]:
    begun = site.now()
    slowed = await site.do("slow-disk", "database-a primary", delay_ms=FSYNC_DELAY_MS)
    await site.sleep(20)
    await site.repair("mend-disk", slowed)
    await site.sleep(AFTER_S)
    return [Window("its shards", begun, site.now(), 3.0, "a"), *await others(site, begun)]


async def full_disk(site: Site) -> list[Window]:
    begun = site.now()
    filled = await site.do("fill-disk", "database-a primary")
    await site.sleep(20)
    room = site.now()
    await site.repair("free-disk", filled)
    await site.sleep(35)
    return [Window("from when there is room again", room, site.now(), 30.0, "a"), *await others(site, begun)]


async def skewed_clocks(site: Site) -> list[Window]:
    begun = site.now()
    await site.sleep(10)
    await site.do("kill", "node-2")
    await site.sleep(12)
    await site.repair("start", "node-2")
    await site.sleep(AFTER_S)
    return [Window("all the time", begun, site.now(), 2.0)]


async def hung_worker(site: Site) -> list[Window]:
    begun = site.now()
    await site.do("hang", "node-2")
    await site.sleep(25)
    until = site.now()
    restarted = [at for at, said in await site.events(begun) if said.startswith("worker ")]
    if not restarted:
        site.breaches.append("The supervisor did not start another worker.")
    elif restarted[0] - begun > RESTARTED_WITHIN_S:
        site.breaches.append(f"Another worker was started after {restarted[0] - begun:.1f} s only.")
    else:
        site.note("the supervisor has started another worker", "repair", restarted[0])
    return [Window("while it hangs", begun, until, 8.0)]


async def rolling_upgrade(site: Site) -> list[Window]:
    begun = site.now()
    for node in [part.name for part in (await site.status()).parts if part.group == "node"]:
        await site.do("upgrade", node, "note")
        await site.sleep(AFTER_S)
    return [Window("the upgrade", begun, site.now(), UPGRADE_S)]


def with_small_disk(plan: Plan) -> Plan:
    """The host that is the first primary of database a has a disk of its own."""
    return replace(plan, disks={"database-a-1": DISK_MIB})


def with_wrong_clocks(plan: Plan) -> Plan:
    """Two nodes are two minutes apart, each a minute away from the rest of the cluster."""
    return replace(plan, clocks={"node-1": -APART_S / 2, "node-2": APART_S / 2})


def with_workers(plan: Plan) -> Plan:
    """Two nodes of two workers each, to which clients go directly."""
    return replace(plan, nodes=2, workers=2, haproxy=False)


def with_older_nodes(plan: Plan) -> Plan:
    """The nodes run what there was before the newest migration, which knows one database."""
    return replace(plan, databases=1, release=commit_before(-1))


def why_no_older_nodes() -> str:
    """Why the release before cannot be had; empty where it can."""
    try:
        commit_before(-1)
    except NoHistory as error:
        return str(error)
    return ""
