"""The primary that Sentinels watch: asked of all of them, and the answer of the latest failover counts."""

import random
import re
from collections.abc import Iterable

from posthouse.kit.clock import Clock
from posthouse.valkey.address import Address, Place, place_told
from posthouse.valkey.connecting import Access
from posthouse.valkey.following import Following
from posthouse.valkey.link import LinkLimits, Misconfigured, Reply, ReplyError, Unavailable
from posthouse.valkey.server import Server

_NUMBER = re.compile(rb"[0-9]{1,19}")


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
        told = [_told(answer) for _, answer in answers if not isinstance(answer, ReplyError)]
        known = [each for each in told if each is not None]
        self._misfit = None
        if known:
            _, place = max(known, key=lambda each: each[0])
            await self._turn_to(place)
        elif answers and not told:
            name = self.address.name
            self._misfit = Misconfigured(
                f"{answers[0][0].place} watches no primary called {name}: change the end of its address"
            )

    async def _turn_to(self, place: Place) -> None:
        if self._primary is None or self._primary.place != place:
            left, self._primary = self._primary, self._server(place)
            if left is not None:
                await left.close()


def _told(master: Reply) -> tuple[int, Place] | None:
    """Which failover one Sentinel knows of, and where the primary is since; None when its answer is none."""
    if not isinstance(master, dict):
        return None
    epoch, port = _number(master.get(b"config-epoch")), _number(master.get(b"port"))
    place = place_told(master.get(b"ip"), port)
    return None if epoch is None or place is None else (epoch, place)


def _number(told: object) -> int | None:
    return int(told) if isinstance(told, bytes) and _NUMBER.fullmatch(told) else None
