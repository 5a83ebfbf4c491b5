"""Messages over sharded pub/sub: a channel for each gateway, on the server that has the channel's slot.

All that is published in one turn of the loop goes out together, over one link to each server, in the order published.
A message that meets a broken link, or a server that has given up the slot, is lost and never sent twice.
"""

from collections.abc import Callable

from posthouse.bus.base import BusUnavailable
from posthouse.bus.engines.redis.subscription import Subscription
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import ReplyError, Unavailable

_CHANNELS_REMEMBERED_MAX = 1_000


class RedisBus:
    """The port `Bus` on a deployment, which it neither starts nor closes. `close` ends its subscriptions."""

    def __init__(self, deployment: Deployment, prefix: str = "ph") -> None:
        self._deployment = deployment
        self._prefix = prefix
        self._channels: dict[str, bytes] = {}
        self._subscriptions: dict[str, Subscription] = {}

    async def publish(self, gateway: str, message: bytes) -> bool:
        channel = self._channels.get(gateway) or self._channel(gateway)
        try:
            (heard,) = await self._deployment.link(channel).call([("SPUBLISH", channel, message)])
        except Unavailable as trouble:
            raise BusUnavailable(str(trouble)) from None
        if isinstance(heard, ReplyError):
            self._deployment.doubt()
            raise BusUnavailable(str(heard))
        return bool(heard)

    async def subscribe(
        self,
        gateway: str,
        deliver: Callable[[bytes], None],
        standing: Callable[[bool], None] = lambda _: None,
    ) -> None:
        await self.unsubscribe(gateway)
        subscription = Subscription(self._deployment, self._channel(gateway), deliver, standing)
        self._subscriptions[gateway] = subscription
        try:
            await subscription.start()
        except Unavailable as trouble:
            raise BusUnavailable(str(trouble)) from None

    async def unsubscribe(self, gateway: str) -> None:
        subscription = self._subscriptions.pop(gateway, None)
        if subscription is not None:
            await subscription.close()

    async def close(self) -> None:
        """End every subscription."""
        for gateway in list(self._subscriptions):
            await self.unsubscribe(gateway)

    def _channel(self, gateway: str) -> bytes:
        if len(self._channels) >= _CHANNELS_REMEMBERED_MAX:
            self._channels.clear()
        channel = f"{self._prefix}:bus:{{{gateway}}}".encode()
        self._channels[gateway] = channel
        return channel
