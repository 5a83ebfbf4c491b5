"""A whole cluster of real servers: clients talk, one server after the other is killed, and nobody misses anything."""

import asyncio
from collections.abc import Iterator

import pytest

from posthouse.load.chaos.site import Load, Site
from posthouse.testing.playground.cluster import LocalCluster
from posthouse.testing.playground.plan import Plan

pytestmark = [pytest.mark.cluster, pytest.mark.serial, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(Plan(nodes=3, databases=2, replicas=2)) as cluster:
        yield cluster


async def test_a_node_a_database_primary_and_the_cache_primary_may_die_and_nothing_is_lost_doubled_or_disordered(
    cluster: LocalCluster,
) -> None:
    async with Site(cluster, Load(rate=100, clients=60), "all") as site:
        await site.enter()
        await site.talk()
        for victim in ("node-1", "cache primary", "database-a primary"):
            await site.do("kill", victim)
            await site.sleep(5)
        await asyncio.sleep(25)  # Patroni's ttl, and more
        for group in ("node-1", "cache", "database-a"):
            await site.do("start", group)
        await site.healthy()
        await site.hush()
        verdict = await site.judge()
    assert not site.breaches
    assert verdict.holds, verdict
    assert verdict.unanswered == 0
    assert verdict.acked == verdict.sent > 3_000


async def test_all_cache_servers_may_die_and_come_back_empty(cluster: LocalCluster) -> None:
    async with Site(cluster, Load(rate=100, clients=60), "wiped") as site:
        await site.healthy()
        await site.enter()
        await site.talk()
        await site.do("kill", "cache")
        await site.sleep(8)
        await site.do("start", "cache")
        await site.sleep(8)
        await site.hush()
        verdict = await site.judge()
    assert not site.breaches
    assert verdict.holds, verdict
    assert verdict.acked == verdict.sent > 1_500


async def test_a_database_primary_cut_off_the_network_takes_nothing_with_it_and_comes_back_as_a_replica() -> (
    None
):
    with LocalCluster(Plan(nodes=2, databases=1, replicas=2, proxied=True)) as cluster:
        async with Site(cluster, Load(rate=60, clients=30), "cut") as site:
            await site.enter()
            await site.talk()
            cut = await site.do("cut", "database-a primary", way="both")
            await site.sleep(30)  # Patroni's ttl, and more
            await site.do("heal", cut)
            await site.healthy()
            roles = {part.name: part.role for part in (await site.status()).parts}
            await site.hush()
            verdict = await site.judge()
    assert roles[cut] in ("replica", "sync standby")
    assert not site.breaches
    assert verdict.holds, verdict
    assert verdict.acked == verdict.sent > 1_000
