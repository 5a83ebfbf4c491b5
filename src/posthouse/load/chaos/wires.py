"""The network is broken, through the fault proxies before every server: cut one way or both, slow, reset, half open."""

from posthouse.load.chaos.scenario import AFTER_S, NOTHING_S, Window, others
from posthouse.load.chaos.site import Site

WAYS = ("both", "out", "in")
CACHE = ("cache", "sentinel")
CACHE_PRIMARY = "cache primary"
CUT_S = 12.0
LATENCY_MS = 50.0
BYTES_PER_S = 256_000.0
NARROW_BYTES_PER_S = 128_000.0
"""Too little for a node: with the default load the bus alone brings it some 150 kB/s. For a database's primary it is
enough."""
SLOW_S = 20.0
RESETS = 5
RESET_EVERY_S = 2.0

CACHE_CUT_S = 3.0
"""2 s, as by the slower path for all, and 1 s to notice: a cache that is silent for 0.25 s counts as away."""
DRAIN_AFTER_S = 2
MOVED_S = 30.0
"""7 s until two probes have failed, 6 s more before a node believes that the fault is its own, `DRAIN_AFTER_S` until it
drains, 12 s in which it does, and 3 s. Until then it cannot read the message that was under way when the cut came, and
passes on nothing that comes after it."""
HOLE_S = CUT_S + 3.0
"""The same, when the healing comes first."""
SLOW_PAUSE_S = 2.0
NARROW_PAUSE_S = 5.0
"""What the bus brings waits longer and longer, until it counts as away, and then the databases are asked instead: 2 s,
as without a cache for all, and 3 s for what has piled up on the connections to them."""
FROZEN_S = 8.0
"""A heartbeat (5 s), and 3 s: nothing else tells a client that its connection leads nowhere."""


async def cut_node_from_cache(site: Site) -> list[Window]:
    return [await _cut(site, CACHE, way, CACHE_CUT_S) for way in WAYS]


async def cut_node_from_database(site: Site) -> list[Window]:
    """Each way for a short time, then both for long: once it has drained itself, others send it clients again."""
    start = site.now()
    ways = [await _cut(site, ("database-a",), way, HOLE_S, "a") for way in ("out", "in")]
    begun = site.now()
    await site.do("cut", "node-2", others=("database-a",), way="both")
    await site.sleep(MOVED_S + 10)
    until = site.now()
    await site.repair("heal", "node-2")
    await site.sleep(2 * AFTER_S)
    both = Window("both ways", begun, until, MOVED_S, "a", sends_s=MOVED_S)
    return [both, *ways, *await others(site, start)]


async def cut_node_from_nodes(site: Site) -> list[Window]:
    return [await _cut(site, ("node-1", "node-3"), way, NOTHING_S) for way in WAYS]


async def cut_database_primary(site: Site) -> list[Window]:
    begun = site.now()
    cut = await site.do("cut", "database-a primary", way="both")
    await site.sleep(40)
    until = site.now()
    await site.repair("heal", cut)
    await site.sleep(AFTER_S)
    return [Window("its shards", begun, until, 30.0, "a"), *await others(site, begun)]


async def slow_network(site: Site) -> list[Window]:
    """A network that is slow and wide enough, and for a node one that is too narrow for what it is sent."""
    return [
        await _slow(site, "node-2", BYTES_PER_S, SLOW_PAUSE_S),
        await _slow(site, "database-a primary", NARROW_BYTES_PER_S, SLOW_PAUSE_S),
        await _slow(site, "node-2", NARROW_BYTES_PER_S, NARROW_PAUSE_S),
    ]


async def resets(site: Site) -> list[Window]:
    windows = []
    for what in ("node-2", "database-a primary", CACHE_PRIMARY):
        begun = site.now()
        for _ in range(RESETS):
            await site.do("reset", what)
            await site.sleep(RESET_EVERY_S)
        await site.sleep(AFTER_S)
        windows.append(Window(f"resets of {what}", begun, site.now(), 2.0))
    return windows


async def half_open(site: Site) -> list[Window]:
    """One such connection fails one question, so the nodes report it only of the cache, whose hints may be lost."""
    windows = []
    for what, scope in (("node-2", ""), ("database-a primary", "a"), (CACHE_PRIMARY, "")):
        begun = site.now()
        await site.do("half-open", what)
        await site.sleep(15)
        shown = what == CACHE_PRIMARY
        windows.append(Window(f"{what} half open", begun, site.now(), FROZEN_S, scope, shown=shown))
    return windows


async def _slow(site: Site, what: str, bytes_per_s: float, budget_s: float) -> Window:
    """Give a host a slow network, and heal it."""
    begun = site.now()
    slowed = await site.do("slow", what, latency_ms=LATENCY_MS, bytes_per_s=bytes_per_s)
    await site.sleep(SLOW_S)
    await site.repair("heal", slowed)
    await site.sleep(AFTER_S)
    return Window(f"{what} has {bytes_per_s / 1000:g} kB/s", begun, site.now(), budget_s)


async def _cut(site: Site, whom: tuple[str, ...], way: str, budget_s: float, scope: str = "") -> Window:
    """Cut node-2 off from some, and heal it."""
    begun = site.now()
    await site.do("cut", "node-2", others=whom, way=way)
    await site.sleep(CUT_S)
    await site.repair("heal", "node-2")
    await site.sleep(AFTER_S)
    what = {"both": "both ways", "in": "nothing reaches the node", "out": "nothing it says arrives"}[way]
    return Window(what, begun, site.now(), budget_s, scope)
