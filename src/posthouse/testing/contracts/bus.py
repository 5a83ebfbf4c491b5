"""What every bus must do: carry bytes to one gateway, in order while nothing breaks, and hold up nobody.

A subclass defines the fixture `bus`. Delivery may take a moment, so tests wait for it; that nothing comes is seen by
waiting for what is sent after it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from posthouse.bus.base import MESSAGE_BYTES_MAX, Bus
from posthouse.kit.clock import SystemClock

PATIENCE_S = 10
_PAUSE_S = 0.005
_CLOCK: Final = SystemClock()


class BusContract:
    """Run on every engine of `posthouse.bus.base.Bus`."""

    async def test_messages_reach_the_gateway_they_are_for_in_order(self, bus: Bus) -> None:
        one, other = await listening(bus, "one"), await listening(bus, "other")
        for number in range(100):
            await bus.publish("one", b"%d" % number)
        await bus.publish("other", b"for the other")
        await until(lambda: len(one) == 100 and other)
        assert one == [b"%d" % number for number in range(100)]
        assert other == [b"for the other"]

    async def test_any_bytes_arrive_as_they_were_sent(self, bus: Bus) -> None:
        heard = await listening(bus, "one")
        sent = [b"", bytes(range(256)), b"x" * MESSAGE_BYTES_MAX]
        for message in sent:
            await bus.publish("one", message)
        await until(lambda: len(heard) == len(sent))
        assert heard == sent

    async def test_a_message_to_nobody_is_dropped_without_a_word(self, bus: Bus) -> None:
        heard = await listening(bus, "one")
        await bus.publish("nobody", b"lost")
        await bus.publish("one", b"heard")
        await until(lambda: heard)
        assert heard == [b"heard"]

    async def test_the_last_subscriber_of_a_gateway_is_the_only_one(self, bus: Bus) -> None:
        """A node that was restarted under its name takes over from what is left of itself."""
        before = await listening(bus, "one")
        after = await listening(bus, "one")
        await bus.publish("one", b"message")
        await until(lambda: after)
        assert (before, after) == ([], [b"message"])

    async def test_who_has_unsubscribed_hears_nothing_and_may_come_back(self, bus: Bus) -> None:
        heard, other = await listening(bus, "one"), await listening(bus, "other")
        await bus.unsubscribe("one")
        await bus.unsubscribe("never subscribed")
        await bus.publish("one", b"lost")
        await bus.publish("other", b"heard")
        await until(lambda: other)
        assert heard == []
        again = await listening(bus, "one")
        await bus.publish("one", b"message")
        await until(lambda: again)
        assert again == [b"message"]


async def listening(bus: Bus, gateway: str) -> list[bytes]:
    """What a gateway hears from now on."""
    heard: list[bytes] = []
    await bus.subscribe(gateway, heard.append)
    return heard


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the bus brings about in its own time."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await _CLOCK.sleep(_PAUSE_S)
