"""The bus port: bytes to one gateway by name.

At most once, in order per publisher and gateway while nothing breaks. A message to a gateway that is not there is
dropped without a word: the repair reader of the feed makes that safe.
"""

from collections.abc import Callable
from typing import Protocol

MESSAGE_BYTES_MAX = 4 << 20


class Bus(Protocol):
    """Carries messages to gateways."""

    async def publish(self, gateway: str, message: bytes) -> None:
        """Hand `message` to the gateway if it listens. Raises `BusUnavailable` when the bus is known to be down."""
        ...

    async def subscribe(self, gateway: str, deliver: Callable[[bytes], None]) -> None:
        """Call `deliver` with each message to `gateway`, in the event loop. One subscriber a gateway: the last."""
        ...

    async def unsubscribe(self, gateway: str) -> None:
        """Stop delivering to `gateway`; unknown names are passed over."""
        ...


class BusUnavailable(Exception):
    """The bus cannot take messages now."""
