"""Whatever happens to the server, in whatever order: who follows a log is told, and nothing is said twice."""

import asyncio
import contextlib
import random
from collections.abc import Iterator

import pytest

from posthouse.bus.base import BusUnavailable
from posthouse.bus.engines.redis.bus import RedisBus
from posthouse.cache.base import CacheUnavailable, LogKey
from posthouse.cache.engines.redis.routes import RedisRoutes
from posthouse.kit.clock import SystemClock
from posthouse.testing.valkey import LocalValkey
from posthouse.valkey.link import LinkLimits
from tests.valkey.shared import Sites, fresh_prefix, linked, until

LOGS: list[LogKey] = [("app", str(number)) for number in range(300)]
HASTY = LinkLimits(answer_timeout_s=0.15, connect_timeout_s=0.3)
SECONDS = 2.5


@pytest.fixture
def server(sites: Sites) -> Iterator[LocalValkey]:
    with sites.broken("alone") as server:
        assert isinstance(server, LocalValkey)
        yield server


class Story:
    """One gateway that follows logs, one node that asks who does, one that publishes; until the time is over."""

    def __init__(self, seed: int, one: RedisRoutes, reader: RedisRoutes, bus: RedisBus) -> None:
        self.rng = random.Random(seed)
        self.one, self.reader, self.bus = one, reader, bus
        self.followed: set[LogKey] = set()
        self.known = 0
        self._clock = SystemClock()
        self._end = self._clock.monotonic() + SECONDS

    def goes_on(self) -> bool:
        return self._clock.monotonic() < self._end

    async def break_things(self, server: LocalValkey) -> None:
        while self.goes_on():
            await self._clock.sleep(self.rng.uniform(0.05, 0.3))
            match self.rng.choice(("wipe", "freeze", "restart", "forget scripts", "cut")):
                case "wipe":
                    await asyncio.to_thread(server.wipe)
                case "freeze":
                    server.freeze()
                    await self._clock.sleep(self.rng.uniform(0, 0.4))
                    server.thaw()
                case "restart":
                    await asyncio.to_thread(server.restart)
                case "forget scripts":
                    await asyncio.to_thread(server.call, "SCRIPT", "FLUSH")
                case _:
                    await asyncio.to_thread(server.call, "CLIENT", "KILL", "TYPE", "normal")

    async def keep(self) -> None:
        while self.goes_on():
            with contextlib.suppress(CacheUnavailable):
                await self.one.keep("one")
            await self._clock.sleep(0.1)

    async def follow(self) -> None:
        while self.goes_on():
            keys = self.rng.sample(LOGS, 20)
            if self.rng.random() < 0.6:
                with contextlib.suppress(CacheUnavailable):
                    await self.one.register("one", keys)
                    self.followed.update(keys)
            else:
                self.followed.difference_update(keys)
                await self.one.unregister("one", keys)
            await self.look()
            await self._clock.sleep(0.001)

    async def look(self) -> None:
        asked = list(self.followed)
        for key, told in zip(asked, await self.reader.gateways(asked, ["one"]), strict=True):
            assert told is None or "one" in told, f"{key} is left out"
            self.known += told is not None

    async def talk(self) -> None:
        number = 0
        while self.goes_on():
            number += 1
            with contextlib.suppress(BusUnavailable):
                await self.bus.publish("one", b"%d" % number)
            await self._clock.sleep(0.001)


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_to_the_server_who_follows_is_told_and_messages_come_once_in_order(
    server: LocalValkey, seed: int
) -> None:
    prefix = fresh_prefix()
    async with linked(server.url, HASTY) as links, linked(server.url, HASTY) as others:
        heard: list[bytes] = []
        receiver = RedisBus(others, prefix)
        await receiver.subscribe("one", heard.append)
        one = RedisRoutes(links, 1, prefix)
        story = Story(seed, one, RedisRoutes(others, 1, prefix), RedisBus(links, prefix))
        await one.keep("one")
        await asyncio.gather(story.break_things(server), story.keep(), story.follow(), story.talk())
        await until(lambda: links.up and others.up)
        with contextlib.suppress(CacheUnavailable):
            await one.keep("one")
        await story.look()
        await receiver.close()
        assert story.known > 1_000
        numbers = [int(message) for message in heard]
        assert numbers == sorted(set(numbers))
        assert len(numbers) > 50
