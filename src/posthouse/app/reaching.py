"""Reaching a dependency at the start: tried for a while, then given up with a sentence that says what to do."""

from collections.abc import Awaitable, Callable

from posthouse.bus.base import BusUnavailable
from posthouse.cache.base import CacheUnavailable
from posthouse.kit.clock import Clock

START_PATIENCE_S = 10.0
RETRY_INTERVAL_S = 0.5


class Unreachable(Exception):
    """A dependency did not answer in time; the message names it."""


async def reach(key: str, attempt: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Try until it works. `key` is where the configuration names the dependency. Raises `Unreachable`."""
    give_up_at = clock.monotonic() + START_PATIENCE_S
    while True:
        try:
            await attempt()
            return
        except (CacheUnavailable, BusUnavailable) as error:
            if clock.monotonic() >= give_up_at:
                raise Unreachable(
                    f"{key}: {error}; is it running, and is the address right? Tried for {START_PATIENCE_S:g} s"
                ) from None
        await clock.sleep(RETRY_INTERVAL_S)
