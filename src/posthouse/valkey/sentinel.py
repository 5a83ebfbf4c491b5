"""The primary that Sentinels watch: asked of all of them, and the answer of the latest failover counts."""

import random
from collections.abc import Iterable
from typing import Any

from posthouse.kit.clock import Clock
from posthouse.valkey.address import Address, Place
from posthouse.valkey.connecting import Access
from posthouse.valkey.following import Following
from posthouse.valkey.link import LinkLimits, Misconfigured, ReplyError, Unavailable
from posthouse.valkey.server import Server


class Sentinel(Following):
    """Links to the primary, and to each Sentinel that the address names."""

    def __init__(self, address: Address, limits: LinkLimits, clock: Clock, rng: random.Random) -> None:
        super().__init__(address, limits, clock, rng)
        self._primary: Server | None = None

    def server(self, key: bytes) -> Server:
        if self._primary is None:
            raise self._lost(f"the primary {self.address.name}")
        return self._primary

    @property
    def trouble(self) -> Unavailable | None:
        if self._primary is None:
            return self._lost(f"the primary {self.address.name}")
        return None if self._primary.link is not None else self._primary.trouble

    def servers(self) -> Iterable[Server]:
        return [*self._seeds.values(), *([self._primary] if self._primary is not None else [])]

    def _seed_access(self) -> Access:
        return self.access._replace(login=self.address.sentinel_login, database=0, mode="sentinel")

    async def _look(self) -> None:
        answers = await self._ask_all(self._seeds.values(), ("SENTINEL", "MASTER", self.address.name))
        known = [answer for _, answer in answers if not isinstance(answer, ReplyError)]
        self._misfit = None
        if known:
            latest = max(known, key=lambda answer: int(answer[b"config-epoch"]))
            await self._turn_to(_place(latest))
        elif answers:
            name = self.address.name
            self._misfit = Misconfigured(
                f"{answers[0][0].place} watches no primary called {name}: change the end of its address"
            )

    async def _turn_to(self, place: Place) -> None:
        if self._primary is None or self._primary.place != place:
            left, self._primary = self._primary, self._server(place)
            if left is not None:
                await left.close()


def _place(master: dict[bytes, Any]) -> Place:
    return Place(master[b"ip"].decode(), int(master[b"port"]))
