"""From the configuration to cache and bus: memory, or servers, with what is wrong said before anything is opened."""

import pytest

from posthouse.app.caches import caches
from posthouse.app.config import ConfigError, load, render
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.kit.clock import SystemClock
from posthouse.testing.valkey import LocalValkey
from posthouse.valkey.link import Misconfigured, Unavailable


async def test_without_a_word_all_is_in_memory_and_nothing_is_opened() -> None:
    made = caches(load().config, SystemClock(), 1)
    assert isinstance(made.routes, MemoryRoutes)
    assert made.deployments == {}
    await made.start()
    await made.close()


async def test_two_nodes_on_one_server_share_what_their_prefix_says() -> None:
    with LocalValkey(password="secret") as server:
        flags: dict[str, object] = {"cache.url": server.url}
        nodes = [
            caches(load(None, {}, flags | {"cache.prefix": prefix}).config, SystemClock(), number)
            for number, prefix in enumerate(("ph", "ph", "other"))
        ]
        for node in nodes:
            await node.start()
        one, two, other = nodes
        await one.routes.keep("one")
        await one.routes.register("one", [("app", "c")])
        assert await two.routes.gateways([("app", "c"), ("app", "d")], ["one"]) == [
            frozenset({"one"}),
            frozenset(),
        ]
        assert await two.leases.take("repair", "two", 60) == await one.leases.take("repair", "one", 60)
        await other.routes.keep("one")
        assert await other.routes.gateways([("app", "c")], ["one"]) == [frozenset()]
        assert (await other.leases.take("repair", "other", 60)).holder == "other"
        assert {name: links.up for name, links in one.deployments.items()} == {"cache": True, "bus": True}
        for node in nodes:
            await node.close()


async def test_the_bus_may_have_servers_of_its_own() -> None:
    with LocalValkey() as cache, LocalValkey() as bus:
        made = caches(load(None, {}, {"cache.url": cache.url, "bus.url": bus.url}).config, SystemClock(), 1)
        await made.start()
        heard: list[bytes] = []
        await made.bus.subscribe("one", heard.append)
        assert bus.call("PUBSUB", "SHARDCHANNELS") == [b"ph:bus:{one}"]
        assert cache.call("PUBSUB", "SHARDCHANNELS") == []
        await made.bus.unsubscribe("one")
        await made.close()


async def test_a_cache_that_is_missing_or_refuses_is_named_at_the_start() -> None:
    with LocalValkey(password="secret") as server:
        made = caches(
            load(None, {}, {"cache.url": server.url.replace("secret", "other")}).config, SystemClock(), 1
        )
        with pytest.raises(Misconfigured, match=f"127.0.0.1:{server.port} refuses user and password"):
            await made.start()
        await made.close()
    made = caches(load(None, {}, {"cache.url": server.url}).config, SystemClock(), 1)
    for deployment in made.deployments.values():
        with pytest.raises(Unavailable, match=f"127.0.0.1:{server.port} cannot be reached"):
            await deployment.start(0.2)
    await made.close()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"cache.url": "http://h"}, "cache.url"),
        ({"cache.url": "redis://h/name"}, "cache.url: .* is a number"),
        ({"cache.url": "redis+sentinel://h"}, "cache.url: say which primary"),
        ({"cache.url": "redis://h", "bus.url": "redis://h?x=1"}, "bus.url: no option is called x"),
        ({"cache.url": "redis://h", "bus.url": "memory"}, "both"),
        ({"bus.url": "redis://h"}, "both"),
        ({"cache.prefix": "{x}"}, "cache.prefix"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_with_its_key(flags: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load(None, {}, flags)


def test_passwords_of_servers_are_not_shown() -> None:
    url = "redis+sentinel://ann:hunter2@h:1,i:2/main?sentinel-user=x&sentinel-password=hunter2&db=3"
    shown = render(load(None, {}, {"cache.url": url, "bus.url": url}).config)
    assert "hunter2" not in shown
    assert (
        shown.count(
            "redis+sentinel://ann:********@h:1,i:2/main?sentinel-user=x&sentinel-password=********&db=3"
        )
        == 2
    )
