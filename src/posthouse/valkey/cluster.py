"""A Cluster: sixteen thousand slots, each on one of its primaries. The map that most servers agree on counts."""

import binascii
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

from posthouse.kit.clock import Clock
from posthouse.valkey.address import Address, Place, place_told
from posthouse.valkey.connecting import Access
from posthouse.valkey.following import Following
from posthouse.valkey.link import LinkLimits, Reply, ReplyError, Unavailable
from posthouse.valkey.server import Server

SLOTS = 16_384

_Map = tuple[tuple[int, int, Place], ...]
"""(first slot, last slot, primary), in order."""


class Cluster(Following):
    """Links to every primary, and to each server that the address names."""

    def __init__(self, address: Address, limits: LinkLimits, clock: Clock, rng: random.Random) -> None:
        super().__init__(address, limits, clock, rng)
        self.access = self._seed_access()
        self._map: _Map = ()
        self._slots: list[Server | None] = [None] * SLOTS
        self._primaries: dict[Place, Server] = {}

    def server(self, key: bytes) -> Server:
        server = self._slots[slot_of(key)]
        if server is None:
            raise self._lost(f"the server of slot {slot_of(key)}")
        return server

    @property
    def trouble(self) -> Unavailable | None:
        if not self._map or sum(last - first + 1 for first, last, _ in self._map) < SLOTS:
            return self._lost("the Cluster's map, or part of it,")
        return next((server.trouble for server in self._primaries.values() if server.link is None), None)

    def servers(self) -> Iterable[Server]:
        return {**self._seeds, **self._primaries}.values()

    def _seed_access(self) -> Access:
        return self.access._replace(mode="cluster")

    async def _look(self) -> None:
        answers = await self._ask_all(self.servers(), ("CLUSTER", "SLOTS"))
        views = [_view(server, answer) for server, answer in answers if not isinstance(answer, ReplyError)]
        if any(views):
            (agreed, _), *_ = Counter(filter(None, views)).most_common(1)
            if agreed != self._map:
                await self._turn_to(agreed)

    async def _turn_to(self, agreed: _Map) -> None:
        before = self._primaries
        self._primaries = {
            place: before.get(place) or self._seeds.get(place) or self._server(place)
            for _, _, place in agreed
        }
        self._map = agreed
        self._slots = [None] * SLOTS
        for first, last, place in agreed:
            self._slots[first : last + 1] = [self._primaries[place]] * (last - first + 1)
        for place, server in before.items():
            if place not in self._primaries and place not in self._seeds:
                await server.close()


def slot_of(key: bytes) -> int:
    """The slot of a key: what is in its first braces counts alone, if there is anything in them."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


def _view(asked: Server, slots: Reply) -> _Map:
    """One server's map; empty when its answer is none. Where it does not name a host, it means the one asked."""
    if not isinstance(slots, list):
        return ()
    stretches = [_stretch(asked.place.host, each) for each in slots]
    found = tuple(sorted(each for each in stretches if each is not None))
    return found if len(found) == len(stretches) else ()


def _stretch(asked: str, told: Any) -> tuple[int, int, Place] | None:
    match told:
        case [int(first), int(last), [host, port, *_], *_] if 0 <= first <= last < SLOTS:
            place = place_told(asked.encode() if host in (None, b"", b"?") else host, port)
            return None if place is None else (first, last, place)
    return None
