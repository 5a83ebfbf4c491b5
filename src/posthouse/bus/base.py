"""The bus port: bytes to one gateway by name.

At most once, in order per publisher and gateway while nothing breaks. A message to a gateway that is not there is
dropped: the repair reader of the feed makes that safe.
"""

from collections.abc import Callable
from typing import Protocol

MESSAGE_BYTES_MAX = 4 << 20


class Bus(Protocol):
    """Carries messages to gateways."""

    async def publish(self, gateway: str, message: bytes) -> bool:
        """Hand `message` to the gateway. False: nobody listens under that name. Raises `BusUnavailable` when the bus
        does not take messages now, and then does so at once, without waiting for time-outs each time."""
        ...

    async def subscribe(
        self,
        gateway: str,
        deliver: Callable[[bytes], None],
        standing: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """Call `deliver` with each message to `gateway`, in the event loop. One subscriber a gateway: the last.

        Returns when the subscription stands. `standing(False)` is called when it is found broken, `standing(True)` when
        it stands again, which the engine sees to by itself: what was published between is lost. Raises
        `BusUnavailable` when it cannot be made now; the engine goes on trying all the same.
        """
        ...

    async def unsubscribe(self, gateway: str) -> None:
        """Stop delivering to `gateway`; unknown names are passed over. Never raises."""
        ...


class BusUnavailable(Exception):
    """The bus cannot take messages now."""
