"""The bus when servers die, stand still, fail over or give slots away: it says so, and stands again by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from posthouse.bus.base import BusUnavailable
from posthouse.bus.engines.redis.bus import RedisBus
from posthouse.testing.valkey import LocalValkey
from posthouse.testing.valkey_cluster import LocalValkeyCluster
from posthouse.testing.valkey_sentinel import LocalSentinel
from posthouse.valkey.cluster import slot_of
from posthouse.valkey.link import Unavailable
from tests.valkey.shared import BRISK, PATIENCE_S, Sites, fresh_prefix, linked, until


class Gateway:
    """What one gateway hears, and what it is told of its subscription."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.standing: list[bool] = []

    async def subscribe(self, bus: RedisBus, name: str = "one") -> None:
        await bus.subscribe(name, self.heard.append, self.note)

    def note(self, stands: bool) -> None:
        assert self.standing[-1:] != [stands], "told twice"
        self.standing.append(stands)

    def is_broken(self) -> bool:
        return self.standing[-1:] == [False]

    def stands_again(self) -> bool:
        """On a machine that is too busy a subscription may also break once more than it was broken."""
        return self.standing[-2:] == [False, True]


@pytest.fixture
def server(sites: Sites) -> Iterator[LocalValkey]:
    with sites.broken("alone") as server:
        assert isinstance(server, LocalValkey)
        yield server


@pytest.fixture
async def bus(server: LocalValkey) -> AsyncIterator[RedisBus]:
    async with linked(server.url, BRISK) as links:
        bus = RedisBus(links, fresh_prefix())
        yield bus
        await bus.close()


async def until_heard(bus: RedisBus, gateway: Gateway, message: bytes) -> None:
    """Publish until it arrives: what is published while the bus is broken is lost."""
    async with asyncio.timeout(PATIENCE_S):
        while message not in gateway.heard:
            with contextlib.suppress(BusUnavailable):
                await bus.publish("one", message)
            await asyncio.sleep(0.02)


def publish_at_once(bus: RedisBus) -> None:
    """Publish, and fail the test if that waits for anything."""
    publishing: Any = bus.publish("one", b"message")
    try:
        publishing.send(None)
    finally:
        publishing.close()


async def test_a_gateway_hears_each_publisher_in_order_however_many_publish_at_once(sites: Sites) -> None:
    """The order is that in which publishing began, over all tasks of a node; big messages hold none back."""
    async with linked(sites["alone"].url) as links:
        bus, began = RedisBus(links, fresh_prefix()), dict[str, list[bytes]](one=[], two=[])
        gateways = {name: Gateway() for name in began}
        for name, gateway in gateways.items():
            await gateway.subscribe(bus, name)

        async def talk(task: int) -> None:
            for number in range(20):
                name = "one" if (task + number) % 3 else "two"
                message = b"%d %d" % (task, number) + b"x" * (1 << 20 if (task, number) == (7, 5) else 0)
                began[name].append(message)
                assert await bus.publish(name, message)

        await asyncio.gather(*map(talk, range(50)))
        await until(lambda: sum(len(gateway.heard) for gateway in gateways.values()) == 1_000)
        assert {name: gateway.heard for name, gateway in gateways.items()} == began
        await bus.close()


async def test_a_killed_server_breaks_subscription_and_publishing_until_it_is_back(
    server: LocalValkey, bus: RedisBus
) -> None:
    gateway = Gateway()
    await gateway.subscribe(bus)
    server.kill()
    await until(gateway.is_broken)
    with pytest.raises(BusUnavailable, match=str(server.port)):
        publish_at_once(bus)
    server.start()
    await until(gateway.stands_again)
    await until_heard(bus, gateway, b"after")


async def test_a_frozen_server_is_found_out_though_its_connections_stand(
    server: LocalValkey, bus: RedisBus
) -> None:
    gateway = Gateway()
    await gateway.subscribe(bus)
    server.freeze()
    with pytest.raises(BusUnavailable, match="has not answered"):
        await bus.publish("one", b"lost")
    with pytest.raises(BusUnavailable):
        publish_at_once(bus)
    await until(gateway.is_broken)
    server.thaw()
    await until(gateway.stands_again)
    await until_heard(bus, gateway, b"after")


async def test_a_subscription_that_cannot_be_made_is_made_later(server: LocalValkey, bus: RedisBus) -> None:
    server.kill()
    gateway = Gateway()
    with pytest.raises(BusUnavailable):
        await gateway.subscribe(bus)
    assert gateway.standing == []
    server.start()
    await until(lambda: gateway.standing == [True])
    await until_heard(bus, gateway, b"after")


async def test_who_has_unsubscribed_is_not_subscribed_anew(server: LocalValkey, bus: RedisBus) -> None:
    gone, other = Gateway(), Gateway()
    await gone.subscribe(bus, "gone")
    await other.subscribe(bus, "one")
    await bus.unsubscribe("gone")
    server.restart()
    await until(other.stands_again)
    await until_heard(bus, other, b"after")
    assert await bus.publish("gone", b"to nobody") is False
    assert (gone.heard, gone.standing) == ([], [])


async def test_a_reader_that_is_too_slow_is_cut_off_hears_of_it_and_goes_on(
    server: LocalValkey, bus: RedisBus
) -> None:
    server.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1")
    gateway = Gateway()
    await gateway.subscribe(bus)
    link = bus._subscriptions["one"]._link
    assert link is not None
    assert link._transport is not None
    link._transport.pause_reading()
    published = 0
    while await bus.publish("one", b"x" * (1 << 20)):
        published += 1
        assert published < 500, "more than sockets' buffers can hold, and the server still waits"
    link._transport.resume_reading()
    await until(gateway.stands_again)
    await until_heard(bus, gateway, b"after")
    assert gateway.heard.count(b"x" * (1 << 20)) <= published
    server.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")


async def test_a_receiver_that_crashes_loses_its_messages_and_not_the_bus(bus: RedisBus) -> None:
    """As if the connection had broken: it is told so, and hears what comes after."""
    gateway, errors = Gateway(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

    def deliver(message: bytes) -> None:
        if message == b"bad":
            raise ValueError("cannot be read")
        gateway.heard.append(message)

    await bus.subscribe("one", deliver, gateway.note)
    await bus.publish("one", b"bad")
    await until(gateway.stands_again)
    await until_heard(bus, gateway, b"after")
    assert [str(context["exception"]) for context in errors] == ["cannot be read"]


async def test_a_message_is_never_delivered_twice(server: LocalValkey, bus: RedisBus) -> None:
    """Also when links break while many are on their way: they are lost, not sent again."""
    gateway = Gateway()
    await gateway.subscribe(bus)

    async def publish(number: int) -> None:
        with contextlib.suppress(BusUnavailable):
            await bus.publish("one", b"%d" % number)

    for round_ in range(4):
        publishing = [asyncio.ensure_future(publish(round_ * 100 + number)) for number in range(100)]
        await asyncio.sleep(0)
        server.call("CLIENT", "KILL", "TYPE", "normal")
        await asyncio.gather(*publishing)
        await asyncio.sleep(0.05)
    await until_heard(bus, gateway, b"after")
    assert len(set(gateway.heard)) == len([message for message in gateway.heard if message != b"after"]) + 1
    numbers = [int(message) for message in gateway.heard if message != b"after"]
    assert numbers == sorted(numbers)


@pytest.fixture(params=["sentinel", "cluster"])
def site(request: pytest.FixtureRequest, sites: Sites) -> Iterator[LocalSentinel | LocalValkeyCluster]:
    with sites.broken(request.param) as site:
        assert not isinstance(site, LocalValkey)
        yield site


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_when_a_primary_is_gone_the_subscription_stands_again_on_its_successor(
    site: LocalSentinel | LocalValkeyCluster, how: str
) -> None:
    async with linked(site.url, BRISK) as links:
        bus, gateway = RedisBus(links, fresh_prefix()), Gateway()
        await gateway.subscribe(bus)
        primary = site.primary if isinstance(site, LocalSentinel) else site.primary_of(bus._channel("one"))
        primary.kill() if how == "kill" else primary.freeze()
        await until(gateway.is_broken)
        await until(gateway.stands_again)
        await until_heard(bus, gateway, b"after")
        await bus.close()


async def test_a_planned_failover_is_followed(site: LocalSentinel | LocalValkeyCluster) -> None:
    """The old primary lives on as a replica, which must not be published to."""
    async with linked(site.url, BRISK) as links:
        bus, gateway = RedisBus(links, fresh_prefix()), Gateway()
        await gateway.subscribe(bus)
        if isinstance(site, LocalSentinel):
            await asyncio.to_thread(site.failover)
        else:
            await asyncio.to_thread(site.failover, site.primary_of(bus._channel("one")))
        await until(gateway.stands_again)
        await until_heard(bus, gateway, b"after")
        await bus.close()


async def test_a_channel_whose_slot_moves_is_followed(sites: Sites) -> None:
    with sites.broken("cluster") as site:
        assert isinstance(site, LocalValkeyCluster)
        async with linked(site.url, BRISK) as links:
            bus, gateway = RedisBus(links, fresh_prefix()), Gateway()
            await gateway.subscribe(bus)
            source = site.primary_of(bus._channel("one"))
            target = next(
                server for key in (b"a", b"b", b"c", b"d") if (server := site.primary_of(key)) is not source
            )
            slot = slot_of(bus._channel("one"))
            await asyncio.to_thread(site.move_slot, slot, target)
            await until(gateway.stands_again)
            await until_heard(bus, gateway, b"after")
            assert links.server(bus._channel("one")).place.port == target.port
            await asyncio.to_thread(site.move_slot, slot, source)
            await bus.close()


async def test_a_subscription_that_the_server_ends_is_made_anew(bus: RedisBus) -> None:
    """As a Cluster's server does that gives the slot away; the map need not tell of it when the slot comes back."""
    gateway = Gateway()
    await gateway.subscribe(bus)
    link = bus._subscriptions["one"]._link
    assert link is not None
    with pytest.raises(Unavailable, match="given the channel away"):
        await link.ask("SUNSUBSCRIBE", bus._channel("one"))
    await until(gateway.stands_again)
    await until_heard(bus, gateway, b"after")
