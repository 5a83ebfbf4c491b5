"""The bus of a cluster of one: a function call. Used inside one event loop only."""

from collections.abc import Callable


class MemoryBus:
    """Delivers at once, in the caller's turn of the event loop."""

    def __init__(self) -> None:
        self._gateways: dict[str, Callable[[bytes], None]] = {}

    async def publish(self, gateway: str, message: bytes) -> bool:
        deliver = self._gateways.get(gateway)
        if deliver is None:
            return False
        deliver(message)
        return True

    async def subscribe(
        self,
        gateway: str,
        deliver: Callable[[bytes], None],
        standing: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._gateways[gateway] = deliver

    async def unsubscribe(self, gateway: str) -> None:
        self._gateways.pop(gateway, None)
