"""Servers that die, stand still or fail over: what cannot be known is said so soon, and then all goes on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from posthouse.cache.base import CacheUnavailable, LogKey
from posthouse.cache.engines.redis.leases import RedisLeases
from posthouse.cache.engines.redis.nodes import RedisNodes
from posthouse.cache.engines.redis.routes import RedisRoutes
from posthouse.testing.valkey import LocalValkey
from posthouse.testing.valkey_cluster import LocalValkeyCluster
from posthouse.testing.valkey_sentinel import LocalSentinel
from posthouse.valkey.cluster import slot_of
from posthouse.valkey.deployment import Deployment
from tests.valkey.shared import BRISK, Sites, fresh_prefix, linked

PATIENCE_S = 20
LOGS: list[LogKey] = [("app", str(number)) for number in range(300)]


@pytest.fixture
def server(sites: Sites) -> Iterator[LocalValkey]:
    with sites.broken("alone") as server:
        assert isinstance(server, LocalValkey)
        yield server


@pytest.fixture
def prefix() -> str:
    return fresh_prefix()


@pytest.fixture
async def links(server: LocalValkey) -> AsyncIterator[Deployment]:
    async with linked(server.url, BRISK) as deployment:
        yield deployment


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                if await condition():
                    return
            except CacheUnavailable:
                pass
            await asyncio.sleep(0.02)


def at_once(asked: Any) -> Any:
    """The result of a coroutine that comes without waiting for anything."""
    try:
        asked.send(None)
    except StopIteration as done:
        return done.value
    asked.close()
    raise AssertionError("it waits")


async def test_a_dead_cache_is_unknown_at_once_to_everybody_and_comes_back_by_itself(
    server: LocalValkey, links: Deployment, prefix: str
) -> None:
    routes, leases, nodes = (
        RedisRoutes(links, 1, prefix),
        RedisLeases(links, prefix),
        RedisNodes(links, prefix),
    )
    await routes.keep("one")
    await routes.register("one", LOGS)
    server.kill()
    await until(lambda: is_down(links))
    assert at_once(routes.gateways(LOGS[:2], ["one"])) == [None, None]
    for asked in (
        routes.register("one", [("app", "new")]), routes.keep("one"), leases.take("a", "b", 1),
        nodes.announce("a", 1, b"", 1), nodes.all(),
    ):  # fmt: skip
        with pytest.raises(CacheUnavailable, match=str(server.port)):
            at_once(asked)
    for asked_ in (routes.unregister("one", LOGS[:1]), nodes.retract("a", 1)):
        at_once(asked_)
    server.start()
    back: list[LogKey] = []

    async def kept() -> bool:
        back.extend(await routes.keep("one"))
        return True

    await until(kept)
    assert set(back) == {*LOGS[1:], ("app", "new")}
    assert await routes.gateways([LOGS[0], LOGS[1], ("app", "new")], ["one"]) == [
        frozenset(), frozenset({"one"}), frozenset({"one"})
    ]  # fmt: skip


async def test_a_frozen_cache_is_unknown_in_a_bounded_time_then_at_once_and_goes_on_when_thawed(
    server: LocalValkey, links: Deployment, prefix: str
) -> None:
    routes = RedisRoutes(links, 1, prefix)
    await routes.keep("one")
    await routes.register("one", LOGS)
    server.freeze()
    async with asyncio.timeout(PATIENCE_S):
        assert await routes.gateways(LOGS[:1], ["one"]) == [None]
        await until(lambda: is_down(links))
    assert at_once(routes.gateways(LOGS[:1], ["one"])) == [None]
    assert "has not answered" in str(links.trouble)
    server.thaw()
    await until(lambda: is_up(links))
    assert await routes.gateways(LOGS[:1], ["one"]) == [frozenset({"one"})]
    assert await routes.keep("one") == []


async def test_a_frozen_cache_is_found_out_also_when_nobody_asks(
    server: LocalValkey, links: Deployment, prefix: str
) -> None:
    server.freeze()
    await until(lambda: is_down(links))
    server.thaw()


async def test_an_answer_is_not_waited_for_longer_than_the_routes_patience(
    server: LocalValkey, prefix: str
) -> None:
    """Also when the link is more patient."""
    async with linked(server.url) as links:
        routes = RedisRoutes(links, 1, prefix, answer_timeout_s=0.01)
        server.freeze()
        assert await routes.gateways(LOGS[:1], ["one"]) == [None]
        assert links.up
        server.thaw()


async def test_an_epoch_rises_across_a_wipe_and_across_a_clock_that_is_behind(
    server: LocalValkey, links: Deployment, prefix: str
) -> None:
    leases = RedisLeases(links, prefix)
    before = await leases.take("a", "one", 60)
    server.wipe()
    after = await leases.take("a", "two", 60)
    assert after.epoch > before.epoch
    leases._epochs["a"] = ahead = after.epoch + 10**6  # what this node saw of a primary whose clock was ahead
    server.wipe()
    assert (await leases.take("a", "one", 60)).epoch == ahead + 1


@pytest.fixture(params=["sentinel", "cluster"])
def site(request: pytest.FixtureRequest, sites: Sites) -> Iterator[LocalSentinel | LocalValkeyCluster]:
    with sites.broken(request.param) as site:
        assert not isinstance(site, LocalValkey)
        yield site


async def test_when_a_primary_is_killed_all_goes_on_with_its_successor(
    site: LocalSentinel | LocalValkeyCluster, prefix: str
) -> None:
    async with linked(site.url, BRISK) as links:
        routes, leases, nodes = (
            RedisRoutes(links, 1, prefix),
            RedisLeases(links, prefix),
            RedisNodes(links, prefix),
        )
        await routes.keep("one")
        await routes.register("one", LOGS)
        lease = await leases.take("repair", "one", 60)
        primary = site.primary if isinstance(site, LocalSentinel) else site.primary_of(leases._key("repair"))
        primary.kill()
        async with asyncio.timeout(PATIENCE_S):
            answers = await routes.gateways(LOGS, ["one"])
            assert all(answer in (None, frozenset({"one"})) for answer in answers)
        await until(lambda: kept(routes))
        assert await routes.gateways([*LOGS, ("app", "x")], ["one"]) == [frozenset({"one"})] * 300 + [
            frozenset()
        ]
        await until(lambda: leases.take("repair", "two", 60))
        assert (await leases.take("repair", "two", 60)).epoch >= lease.epoch
        await until(lambda: nodes.announce("one", 1, b"", 60))
        await until(lambda: is_up(links))


async def test_a_frozen_primary_is_left_for_its_successor_and_does_no_harm_when_thawed(
    site: LocalSentinel | LocalValkeyCluster, prefix: str
) -> None:
    async with linked(site.url, BRISK) as links:
        routes, leases = RedisRoutes(links, 1, prefix), RedisLeases(links, prefix)
        await routes.keep("one")
        await routes.register("one", LOGS)
        primary = site.primary if isinstance(site, LocalSentinel) else site.primary_of(leases._key("repair"))
        primary.freeze()
        await asyncio.to_thread(site.wait_failover, primary)
        await until(lambda: kept(routes))
        await routes.register("one", [("app", "new")])
        primary.thaw()
        for _ in range(20):
            assert await routes.gateways([("app", "new")], ["one"]) in ([frozenset({"one"})], [None])
            await asyncio.sleep(0.02)
        await until(lambda: kept(routes))
        assert await routes.gateways([("app", "new"), LOGS[0]], ["one"]) == [frozenset({"one"})] * 2


async def test_routes_that_a_failover_has_lost_are_named_by_the_next_keep(sites: Sites, prefix: str) -> None:
    """The replica was cut off for a while, and took over without having seen them."""
    with sites.broken("sentinel") as site:
        assert isinstance(site, LocalSentinel)
        async with linked(site.url, BRISK) as links:
            routes = RedisRoutes(links, 1, prefix)
            await routes.keep("one")
            await routes.register("one", LOGS)
            primary, (replica,) = site.primary, site.replicas
            assert primary.call("WAIT", 1, 5_000) == 1
            replica.freeze()
            primary.call("CLIENT", "KILL", "TYPE", "replica")
            await routes.register("one", [("app", "new")])
            primary.kill()
            replica.thaw()
            await asyncio.to_thread(site.wait_failover, primary)
            back: list[LogKey] = []

            async def kept_() -> bool:
                back.extend(await routes.keep("one"))
                return True

            await until(kept_)
            assert ("app", "new") in back
            assert len(back) < len(LOGS)
            assert await routes.gateways([("app", "new")], ["one"]) == [frozenset({"one"})]


async def test_slots_that_move_are_followed(sites: Sites, prefix: str) -> None:
    with sites.broken("cluster") as site:
        assert isinstance(site, LocalValkeyCluster)
        async with linked(site.url, BRISK) as links:
            leases = RedisLeases(links, prefix)
            key = leases._key("repair")
            lease = await leases.take("repair", "one", 60)
            source = site.primary_of(key)
            target = next(
                server for key in (b"a", b"b", b"c", b"d") if (server := site.primary_of(key)) is not source
            )
            await asyncio.to_thread(site.move_slot, slot_of(key), target)

            async def moved() -> bool:
                return await leases.take("repair", "two", 60) == lease

            await until(moved)
            assert links.server(key).place.port == target.port
            await asyncio.to_thread(site.move_slot, slot_of(key), source)


async def test_a_cluster_with_a_dead_part_answers_for_the_rest(sites: Sites, prefix: str) -> None:
    with sites.broken("cluster") as site:
        assert isinstance(site, LocalValkeyCluster)
        async with linked(site.url, BRISK) as links:
            routes = RedisRoutes(links, 1, prefix)
            await routes.keep("one")
            await routes.register("one", LOGS)
            site.primary_of(b"a").kill()
            await until(lambda: is_down(links))
            answers = await routes.gateways(LOGS, ["one"])
            assert set(answers) == {None, frozenset({"one"})}


async def test_what_can_be_put_back_is_put_back_though_a_part_of_the_cluster_is_dead(
    sites: Sites, prefix: str
) -> None:
    with sites.broken("cluster") as site:
        assert isinstance(site, LocalValkeyCluster)
        async with linked(site.url, BRISK) as links:
            routes = RedisRoutes(links, 1, prefix)
            await routes.keep("one")
            await routes.register("one", LOGS)
            site.wipe()
            dead = site.primary_of(b"a")
            for server in (dead, site.replica_of(dead)):
                server.kill()
            await until(lambda: is_down(links))
            with pytest.raises(CacheUnavailable, match=r"127\.0\.0\.1"):
                await routes.keep("one")
            answers = await routes.gateways([("app", f"nobody {number}") for number in range(300)], ["one"])
            assert set(answers) == {None, frozenset()}


async def kept(routes: RedisRoutes) -> bool:
    await routes.keep("one")
    return True


async def is_down(links: Deployment) -> bool:
    return not links.up


async def is_up(links: Deployment) -> bool:
    return links.up
