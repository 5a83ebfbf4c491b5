"""The cache port: routes, which say which gateways have someone connected for a log.

"Unknown" and "nobody" are different answers: None means that the cache cannot say, and the caller must ask every
gateway.
"""

from collections.abc import Sequence
from typing import Protocol

LogKey = tuple[str, str]
"""(app, log id)."""


class Routes(Protocol):
    """Log → gateways. Soft: after a loss, gateways register again."""

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        """`gateway` has recipients for these logs from now on. Repeating it changes nothing."""
        ...

    async def unregister(self, gateway: str, keys: Sequence[LogKey]) -> None:
        """`gateway` has none any more. Only its own registrations are touched."""
        ...

    async def gateways(self, keys: Sequence[LogKey]) -> list[frozenset[str] | None]:
        """For each log the gateways registered for it; None where that is unknown."""
        ...
