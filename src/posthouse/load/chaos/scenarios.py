"""All scenarios: what is done to a cluster, and how long a client may then be without deliveries.

Each is one row of the table in docs/chaos.md, which gives the reasons for the budgets.
"""

from msgspec.structs import replace

from posthouse.load.chaos import hosts, machines, several, wires
from posthouse.load.chaos.scenario import NOTHING_S, Scenario
from posthouse.testing.playground.clocks import why_no_wrong_clock
from posthouse.testing.playground.disks import why_no_slow_disk, why_no_small_disk
from posthouse.testing.playground.plan import Plan
from posthouse.testing.playground.programs import find_programs


def _proxied(plan: Plan) -> Plan:
    return replace(plan, proxied=True)


def _acting(plan: Plan) -> Plan:
    """Nodes that drain themselves when they alone are sick: by default they would only say that they would. Often
    enough that several runs find none of them without an allowance."""
    settings = {
        "remedies.mode": "act",
        "remedies.drain_after_s": wires.DRAIN_AFTER_S,
        "remedies.per_hour": 600,
    }
    return replace(plan, proxied=True, settings=settings)


def _why_no_balancer() -> str:
    return "" if find_programs().haproxy else "HAProxy is not installed"


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "kill-node",
            "A node is killed",
            "One of three nodes is killed in mid-sentence. Its clients find another one, resume there and send "
            "again what was not acknowledged.",
            2.0,
            hosts.kill_node,
            sign=r"^node node-2: ",
        ),
        Scenario(
            "freeze-node",
            "A node is frozen, and thawed later",
            "One of three nodes stands still: its connections stay open and are silent. Its clients notice by a "
            "missed heartbeat (5 s) and go elsewhere. Thawed, it must not disturb what has gone on without it.",
            8.0,
            hosts.freeze_node,
            sign=r"^node node-2: ",
        ),
        Scenario(
            "rolling-restart",
            "All nodes are restarted, one after the other",
            "Each node is told to end, drains (its clients are told where and when to go), and is started again.",
            1.0,
            hosts.rolling_restart,
        ),
        Scenario(
            "kill-cache-primary",
            "The cache's primary is killed",
            "Sentinel makes a replica the primary. What was only in the cache may be lost; no message is.",
            5.0,
            hosts.kill_cache_primary,
            sign=r"^hints ",
        ),
        Scenario(
            "wipe-cache",
            "All cache servers are killed, and come back empty",
            "Without a cache, nodes read what is new from the databases. 5 s after it is back, all is as before.",
            2.0,
            hosts.wipe_cache,
            sign=r"^hints ",
        ),
        Scenario(
            "kill-database-primary",
            "A database's primary is killed",
            "Patroni makes the synchronous standby the primary, after 20 s at the earliest. Meanwhile sends to "
            "this database's shards wait in the clients; those to the other database's shards go on.",
            30.0,
            hosts.kill_database_primary,
            sign=r"^verdict database a",
        ),
        Scenario(
            "kill-database-replica",
            "A database's synchronous standby is killed, then frozen",
            "Nothing is acknowledged until Patroni has made another standby synchronous. The other database goes "
            "on.",
            10.0,
            hosts.kill_database_replica,
        ),
        Scenario(
            "kill-etcd",
            "The leading etcd member is killed",
            "The two others go on. Clients notice nothing.",
            NOTHING_S,
            hosts.kill_etcd,
        ),
        Scenario(
            "kill-balancer",
            "HAProxy is killed",
            "All clients are connected through it. They go to the nodes directly: they have learnt their "
            "addresses.",
            3.0,
            hosts.kill_balancer,
            balancer=True,
            missing=_why_no_balancer,
        ),
        Scenario(
            "join-node",
            "A fourth node joins",
            "Clients are moved to the new node, a few at a time, until all nodes have about the same: after 120 s"
            " the fullest has at most 1.1 times the mean, at most a quarter of the clients were moved, each at "
            "most once.",
            NOTHING_S,
            hosts.join_node,
            spoils=True,
        ),
        Scenario(
            "cut-off-storm",
            "3,000 clients are cut off at once",
            "Every connection breaks in the same moment. All are back within 10 s, by resuming, and meanwhile the"
            " databases have at most twice their usual queries.",
            hosts.BACK_S,
            hosts.cut_off_storm,
            clients=3_000,
        ),
        Scenario(
            "move-shard",
            "A shard is moved to another database, and back",
            "Messages in its conversations go on; writes to it stand still for less than a second.",
            NOTHING_S,
            hosts.move_shard,
        ),
        Scenario(
            "cut-node-cache",
            "A node is cut off from the cache",
            "One node reaches neither the cache nor its sentinels, while everybody else does: both ways first, "
            "then only what it says is lost, then only what it is told. It asks the databases itself for what is "
            "new, and what was sent through it is found by the others in the database.",
            wires.CACHE_CUT_S,
            wires.cut_node_from_cache,
            sign=r"^hints ",
            plan=_proxied,
        ),
        Scenario(
            "cut-node-database",
            "A node is cut off from a database",
            "One node reaches no host of database a, while the others do. First for a short time only what it says "
            "is lost, then only what it is told: commits whose answers are lost are settled. Then both for long. "
            "What its own clients send there waits, and messages of others come in as long as nothing is missing, "
            "until the node has understood that the fault is its own, and sends its clients to the others.",
            wires.MOVED_S,
            wires.cut_node_from_database,
            sign=r"^verdict database a|^readiness node-2",
            plan=_acting,
        ),
        Scenario(
            "cut-node-nodes",
            "A node is cut off from the other nodes",
            "Nodes ask each other how they are. One of three neither hears the others nor is heard by them, then "
            "only one of both; cache and databases are there for all. Clients notice nothing.",
            NOTHING_S,
            wires.cut_node_from_nodes,
            sign=r"node-2",
            plan=_proxied,
        ),
        Scenario(
            "cut-database-primary",
            "A database's primary is cut off from everything",
            "It goes on running, and nothing reaches it. Patroni makes the standby the primary; the former one "
            "may not acknowledge anything, and follows when it is back.",
            30.0,
            wires.cut_database_primary,
            sign=r"^verdict database a",
            plan=_proxied,
        ),
        Scenario(
            "slow-network",
            "The network is slow",
            "All connections of one node get 50 ms of latency each way and 2 Mbit/s, then all of a database's "
            "primary 1 Mbit/s. Everything takes longer, and nothing breaks. Then the node has 1 Mbit/s too, which is "
            "less than the bus brings it: it asks the databases instead.",
            wires.SLOW_PAUSE_S,
            wires.slow_network,
            plan=_proxied,
        ),
        Scenario(
            "resets",
            "Connections are reset again and again",
            "All connections of a node are reset five times, every 2 s, then all of a database's primary, then "
            "all of the cache's. Whoever was connected connects again.",
            2.0,
            wires.resets,
            plan=_proxied,
        ),
        Scenario(
            "half-open",
            "Connections are half open",
            "One end has forgotten them, as a server does that lost its power, and the other end is never told: "
            "all connections to a node, then those to a database's primary, then those to the cache. Clients "
            "notice by a missed heartbeat (5 s), nodes by answers that do not come.",
            wires.FROZEN_S,
            wires.half_open,
            sign=r"^hints ",
            plan=_proxied,
        ),
        Scenario(
            "slow-disk",
            "A database's disk is slow",
            "Each fsync of database a's primary takes 0.3 s longer. Sends gather in bigger transactions; the "
            "other database goes on as before.",
            3.0,
            machines.slow_disk,
            missing=why_no_slow_disk,
        ),
        Scenario(
            "full-disk",
            "A database's disk is full",
            "There is no room left on the disk of database a's primary for 20 s. Sends to its shards are refused "
            "meanwhile, or a standby takes over; once there is room, all goes on. The other database notices "
            "nothing.",
            30.0,
            machines.full_disk,
            plan=machines.with_small_disk,
            missing=why_no_small_disk,
            spoils=True,
        ),
        Scenario(
            "skewed-clocks",
            "Clocks are two minutes apart",
            "The clock of one node is a minute behind everybody else's, that of another a minute ahead. The "
            "latter is killed and started again meanwhile. Nothing is ordered by clocks, so nothing changes.",
            2.0,
            machines.skewed_clocks,
            sign=r"^node node-2: ",
            plan=machines.with_wrong_clocks,
            missing=why_no_wrong_clock,
        ),
        Scenario(
            "hung-worker",
            "A worker hangs",
            "Two machines run two workers each. One worker stands still; its supervisor kills it and starts "
            "another, and its clients notice by a missed heartbeat (5 s) and go elsewhere.",
            8.0,
            machines.hung_worker,
            sign=r"^worker ",
            plan=machines.with_workers,
        ),
        Scenario(
            "rolling-upgrade",
            "The nodes are upgraded, one after the other",
            "All nodes run the release before the newest change of the database's schema. Each is told to end, "
            "and started as this release; the first one migrates the database while the older ones work on. No "
            "send may fail.",
            machines.UPGRADE_S,
            machines.rolling_upgrade,
            plan=machines.with_older_nodes,
            missing=machines.why_no_older_nodes,
            spoils=True,
        ),
        Scenario(
            "node-and-cache",
            "A node and the cache's primary are killed at once",
            "The node's clients go elsewhere, while Sentinel makes a replica the cache's primary.",
            5.0,
            several.node_and_cache,
            sign=r"^node node-2: ",
            promise="G6",
        ),
        Scenario(
            "two-database-hosts",
            "A database's primary and its only synchronous standby are killed at once",
            "No other host may take over, because it may lack what was acknowledged. Sends to this database are "
            "refused and wait in the clients, for 30 s; nothing is acknowledged. Once the hosts are back, all "
            "goes on and nothing is missing.",
            30.0,
            several.two_database_hosts,
            sign=r"^verdict database a",
            promise="G6",
        ),
        Scenario(
            "random",
            "Five rounds of random faults",
            "In each round one or two parts are killed, frozen, cut off, reset or left with half-open "
            "connections, and repaired. A seed repeats it. Two faults at once are allowed as long as one after "
            "the other.",
            8.0,
            several.at_random,
            plan=_proxied,
            varied=True,
            promise="G6",
        ),
    )
}
