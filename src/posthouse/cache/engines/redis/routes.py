"""Routes in sets, one for each gateway and bucket of logs. A member of its own, the marker, says that a set is whole.

Readers take a set without its marker for "registered", so whatever was lost tells too many and never too few. What a
gateway writes, and how it finds out what was lost, is in `own`.
"""

import asyncio
from collections.abc import Sequence

from posthouse.cache.base import LogKey
from posthouse.cache.engines.redis import buckets
from posthouse.cache.engines.redis.own import OwnRoutes
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import Command, Link, Reply, Unavailable

ANSWER_TIMEOUT_S = 0.25
_GATEWAYS_REMEMBERED_MAX = 1_000

_Plan = tuple[Sequence[int], str]
"""What one command asks: for the logs at these places, whether this gateway has recipients."""


class RedisRoutes:
    """The port `Routes` on a deployment, which it neither starts nor closes.

    `incarnation` rises with every start of the process: of two that call themselves by one name, the later one's
    routes count.
    """

    def __init__(
        self,
        deployment: Deployment,
        incarnation: int,
        prefix: str = "ph",
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._deployment = deployment
        self._incarnation = incarnation
        self._prefix = prefix
        self._answer_timeout_s = answer_timeout_s
        self._own: dict[str, OwnRoutes] = {}
        self._sets: dict[str, list[bytes]] = {}
        self._homes = self._sets_of("")  # any set of a bucket lies on the server of all of them

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        if keys:
            await self._of(gateway).register(keys)

    async def unregister(self, gateway: str, keys: Sequence[LogKey]) -> None:
        if keys:
            await self._of(gateway).unregister(keys)

    async def keep(self, gateway: str) -> Sequence[LogKey]:
        return await self._of(gateway).keep()

    async def forget(self, gateway: str) -> None:
        await self._of(gateway).forget()
        self._own.pop(gateway, None)

    async def gateways(self, keys: Sequence[LogKey], among: Sequence[str]) -> list[frozenset[str] | None]:
        found: list[set[str] | None] = [set() for _ in keys]
        asked, unknown = self._ask(keys, among)
        if asked:
            await asyncio.wait([answer for answer, _ in asked], timeout=self._answer_timeout_s)
        for answer, plans in asked:
            if not answer.done() or answer.exception() is not None:
                unknown.extend(place for places, _ in plans for place in places)
                continue
            for (places, gateway), reply in zip(plans, answer.result(), strict=True):
                if not _note(found, places, gateway, reply):
                    self._deployment.doubt()
                    unknown.extend(places)
        for place in unknown:
            found[place] = None
        return [None if gateways is None else frozenset(gateways) for gateways in found]

    # Inside -----------------------------------------------------------------------------------------------------------

    def _of(self, gateway: str) -> OwnRoutes:
        own = self._own.get(gateway)
        if own is None:
            own = OwnRoutes(self._deployment, self._prefix, gateway, self._incarnation)
            self._own[gateway] = own
        return own

    def _ask(
        self, keys: Sequence[LogKey], among: Sequence[str]
    ) -> tuple[list[tuple["asyncio.Future[list[Reply]]", list[_Plan]]], list[int]]:
        """Send the questions: the answers to come with what each is about, and the places of logs not asked for."""
        members = [*map(buckets.member, keys)]
        places: dict[int, list[int]] = {}
        for place, written in enumerate(members):
            places.setdefault(buckets.bucket_of(written), []).append(place)
        sets = [(gateway, self._sets_of(gateway)) for gateway in among]
        commands: dict[Link, tuple[list[Command], list[_Plan]]] = {}
        unknown: list[int] = []
        for bucket, own in places.items():
            try:
                link = self._deployment.link(self._homes[bucket])
            except Unavailable:
                unknown.extend(own)
                continue
            asked, plans = commands.setdefault(link, ([], []))
            wanted = [members[place] for place in own]
            for gateway, names in sets:
                asked.append(("SMISMEMBER", names[bucket], buckets.MARKER, *wanted))
                plans.append((own, gateway))
        return self._send(commands, unknown)

    @staticmethod
    def _send(
        commands: dict[Link, tuple[list[Command], list[_Plan]]], unknown: list[int]
    ) -> tuple[list[tuple["asyncio.Future[list[Reply]]", list[_Plan]]], list[int]]:
        sent = []
        for link, (asked, plans) in commands.items():
            if not asked:
                continue
            try:
                sent.append((link.call(asked), plans))
            except Unavailable:
                unknown.extend(place for places, _ in plans for place in places)
        return sent, unknown

    def _sets_of(self, gateway: str) -> list[bytes]:
        names = self._sets.get(gateway)
        if names is None:
            if len(self._sets) >= _GATEWAYS_REMEMBERED_MAX:
                self._sets.clear()
            names = [buckets.set_key(self._prefix, bucket, gateway) for bucket in range(buckets.BUCKETS)]
            self._sets[gateway] = names
        return names


def _note(found: list[set[str] | None], places: Sequence[int], gateway: str, reply: Reply) -> bool:
    """Take in one answer: [marker, log, log …], each 1 or 0. False when it is none."""
    if isinstance(reply, Exception):
        return False
    whole, *present = reply
    for place, there in zip(places, present, strict=True):
        gateways = found[place]
        if (there or not whole) and gateways is not None:
            gateways.add(gateway)
    return True
