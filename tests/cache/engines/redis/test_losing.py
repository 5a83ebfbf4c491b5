"""What the cache has lost is told to too many, never to too few, until its gateway has put it back."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from posthouse.cache.base import CacheUnavailable, LogKey
from posthouse.cache.engines.redis import buckets
from posthouse.cache.engines.redis.asking import run
from posthouse.cache.engines.redis.own import _BUILD, MEMBERS_MAX
from posthouse.cache.engines.redis.routes import RedisRoutes
from posthouse.testing.valkey import LocalValkey
from posthouse.valkey.deployment import Deployment
from tests.valkey.shared import Sites, fresh_prefix, linked

C: LogKey = ("app", "c")
D: LogKey = ("app", "d")
LOGS: list[LogKey] = [("app", str(number)) for number in range(200)]


@pytest.fixture(params=["alone", "cluster"])
async def links(request: pytest.FixtureRequest, sites: Sites) -> AsyncIterator[Deployment]:
    async with linked(sites[request.param].url) as deployment:
        yield deployment


@pytest.fixture
def prefix() -> str:
    return fresh_prefix()


@pytest.fixture
async def one(links: Deployment, prefix: str) -> RedisRoutes:
    """The routes as the gateway `one` has them, which has begun."""
    routes = RedisRoutes(links, 1, prefix, answer_timeout_s=5.0)
    await routes.keep("one")
    return routes


@pytest.fixture
def reader(links: Deployment, prefix: str) -> RedisRoutes:
    """The routes as some other node sees them."""
    return RedisRoutes(links, 1, prefix, answer_timeout_s=5.0)


async def follows(reader: RedisRoutes, *keys: LogKey) -> list[bool]:
    """Whether `one` would be told of these logs."""
    return [told is None or "one" in told for told in await reader.gateways(keys, ["one"])]


async def lose(links: Deployment, *keys: bytes) -> None:
    for key in keys:
        await links.link(key).ask("DEL", key)


async def lose_all(links: Deployment, prefix: str) -> None:
    """As FLUSHALL would for everybody."""
    for bucket in range(buckets.BUCKETS):
        await lose(links, buckets.set_key(prefix, bucket, "one"), buckets.owner_key(prefix, bucket, "one"))


def places(key: LogKey, prefix: str) -> tuple[bytes, bytes]:
    bucket = buckets.bucket_of(buckets.member(key))
    return buckets.set_key(prefix, bucket, "one"), buckets.owner_key(prefix, bucket, "one")


async def test_a_gateway_that_has_not_begun_counts_as_following_everything(reader: RedisRoutes) -> None:
    assert await follows(reader, C) == [True]


async def test_after_a_wipe_a_gateway_counts_as_following_everything_until_it_has_put_its_routes_back(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str
) -> None:
    await one.register("one", [C])
    await lose_all(links, prefix)
    assert await follows(reader, C, D) == [True, True]
    assert await one.keep("one") == [C]
    assert await follows(reader, C, D) == [True, False]
    assert await one.keep("one") == []


async def test_a_log_registered_or_left_after_a_wipe_stands_with_all_the_others(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str
) -> None:
    await one.register("one", LOGS)
    await lose_all(links, prefix)
    await one.register("one", [C])
    await one.unregister("one", LOGS[:50])
    assert await follows(reader, C, *LOGS[50:]) == [True] * 151
    assert set(await one.keep("one")) == {C, *LOGS[50:]}
    assert await follows(reader, C, *LOGS) == [True] + [False] * 50 + [True] * 150


async def test_what_was_put_back_by_registering_is_returned_by_the_next_keep_as_its_hints_may_have_been_missed(
    links: Deployment, one: RedisRoutes, prefix: str
) -> None:
    await one.register("one", [C])
    same_bucket = next(
        key for key in (("app", f"x{n}") for n in range(10_000)) if places(key, prefix) == places(C, prefix)
    )
    await lose(links, *places(C, prefix))
    await one.register("one", [same_bucket])
    assert C in await one.keep("one")


async def test_a_set_that_was_evicted_is_found_by_its_missing_marker(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str
) -> None:
    await one.register("one", [C])
    await lose(links, places(C, prefix)[0])
    assert await follows(reader, C) == [True]
    assert await one.keep("one") == [C]


async def test_writes_that_a_failover_has_lost_are_found_and_made_again(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str
) -> None:
    """The new primary has set and owner as they were before the last change: whole, and wrong."""
    routes, owner = places(C, prefix)
    before = await links.link(owner).ask("GET", owner)
    await one.register("one", [C])
    await links.link(routes).ask("SREM", routes, buckets.member(C))
    await links.link(owner).ask("SET", owner, before)
    assert await follows(reader, C) == [False]  # nobody can know yet
    assert await one.keep("one") == [C]
    assert await follows(reader, C) == [True]


async def test_a_removal_that_a_failover_has_lost_is_made_again(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str
) -> None:
    await one.register("one", [C])
    routes, owner = places(C, prefix)
    before = await links.link(owner).ask("GET", owner)
    await one.unregister("one", [C])
    await links.link(routes).ask("SADD", routes, buckets.member(C))
    await links.link(owner).ask("SET", owner, before)
    await one.keep("one")
    assert await follows(reader, C) == [False]


@pytest.mark.parametrize("seed", range(3))
async def test_whenever_the_cache_is_wiped_who_follows_is_told(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str, seed: int
) -> None:
    rng = random.Random(seed)
    followed: set[LogKey] = set()
    done = asyncio.Event()

    async def wipe() -> None:
        while not done.is_set():
            await asyncio.sleep(rng.uniform(0, 0.01))
            await lose_all(links, prefix)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wipe())
        for _ in range(150):
            keys = rng.sample(LOGS, 5)
            act = rng.choice(("register", "unregister", "keep", "look"))
            try:
                if act == "register":
                    await one.register("one", keys)
                    followed.update(keys)
                elif act == "unregister":
                    followed.difference_update(keys)
                    await one.unregister("one", keys)
                elif act == "keep":
                    await one.keep("one")
            except CacheUnavailable:
                continue
            assert all(await follows(reader, *followed)), act
        done.set()
    await one.keep("one")
    told = await follows(reader, *LOGS)
    assert {key for key, is_told in zip(LOGS, told, strict=True) if is_told} >= followed


async def test_more_logs_than_fit_one_call_are_put_back_whole(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str
) -> None:
    """While they are written in several calls, the sets have no marker: nobody is left out in between."""
    keys: list[LogKey] = [("app", str(number)) for number in range(buckets.BUCKETS * MEMBERS_MAX * 5 // 4)]
    await one.register("one", keys)
    await lose_all(links, prefix)
    keeping = asyncio.ensure_future(one.keep("one"))
    looks = 0
    while not keeping.done():
        assert all(await follows(reader, *keys[:100], *keys[-100:]))
        looks += 1
    assert set(await keeping) == set(keys)
    assert looks > 3
    assert all(await follows(reader, *keys[:500], *keys[-500:]))
    assert await follows(reader, C) == [False]


async def test_scripts_that_a_server_has_forgotten_are_sent_again(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes
) -> None:
    for server in links.servers():
        assert server.link is not None
        await server.link.ask("SCRIPT", "FLUSH")
    await one.register("one", LOGS)
    assert all(await follows(reader, *LOGS))
    assert await one.keep("one") == []


async def test_a_thawed_node_changes_nothing_of_its_successors(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str
) -> None:
    await one.register("one", [C])
    successor = RedisRoutes(links, 2, prefix, answer_timeout_s=5.0)
    await successor.keep("one")
    await successor.register("one", [C, D])
    await one.unregister("one", [C])
    with pytest.raises(CacheUnavailable, match="newer start of one"):
        await one.keep("one")
    with pytest.raises(CacheUnavailable, match="newer start of one"):
        await one.register("one", [("app", "e")])
    await one.forget("one")
    assert await follows(reader, C, D, ("app", "e")) == [True, True, False]
    assert await successor.keep("one") == []


async def test_a_write_that_a_frozen_server_makes_late_undoes_no_newer_one(
    links: Deployment, one: RedisRoutes, reader: RedisRoutes, prefix: str
) -> None:
    """It came over a link that was given up long ago."""
    bucket = one._own["one"]._buckets[buckets.bucket_of(buckets.member(C))]
    late = one._own["one"]._build_call(bucket, [buckets.MARKER])
    await lose(links, *places(C, prefix))
    await one.register("one", [C])
    assert await run(links, _BUILD, late) == 0
    assert await follows(reader, C) == [True]
    assert await one.keep("one") == [C]  # once, as it was lost
    assert await one.keep("one") == []


async def test_the_routes_of_a_gateway_that_is_gone_end_with_their_time_to_live(
    links: Deployment, one: RedisRoutes, prefix: str
) -> None:
    await one.register("one", [C])
    for key in places(C, prefix):
        assert 0 < await links.link(key).ask("PTTL", key) <= 15_000
        await links.link(key).ask("PEXPIRE", key, 1_000)
    await one.keep("one")
    for key in places(C, prefix):
        assert await links.link(key).ask("PTTL", key) > 1_000


async def test_many_routes_take_little_memory(sites: Sites, prefix: str) -> None:
    """The node keeps the very tuples that the gateway has; the cache less than two hundred bytes a route."""
    site = sites["alone"]
    assert isinstance(site, LocalValkey)
    async with linked(site.url) as links:
        routes = RedisRoutes(links, 1, prefix)
        keys: list[LogKey] = [("default", f"={number:026}") for number in range(50_000)]
        before = await used_memory(links)
        await routes.register("one", keys)
        assert (await used_memory(links) - before) / len(keys) < 200
        kept = [key for bucket in routes._own["one"]._buckets for key in bucket.keys]
        assert {id(key) for key in kept} == {id(key) for key in keys}
        await routes.forget("one")


async def used_memory(links: Deployment) -> int:
    text = await links.link(b"").ask("INFO", "memory")
    return int(text.split(b"used_memory:")[1].split(b"\r")[0])
