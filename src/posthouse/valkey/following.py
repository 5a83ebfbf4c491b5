"""A deployment that moves: some of its servers know where the others are, and are asked about it again and again."""

import asyncio
import random
from abc import abstractmethod
from collections.abc import Iterable

from posthouse.kit.clock import Clock
from posthouse.kit.tasks import wait_event
from posthouse.valkey.address import Address
from posthouse.valkey.connecting import Access
from posthouse.valkey.deployment import Deployment
from posthouse.valkey.link import Command, LinkLimits, Misconfigured, Reply, Unavailable
from posthouse.valkey.server import Server

LOOK_S = 1.0
LOOK_WHILE_DOWN_S = 0.2
LOOK_AGAIN_S = 0.1
"""How often it is looked where everything is: while all is up, while something is not, and at most."""
VOICES_MAX = 5
"""Servers asked each time."""


class Following(Deployment):
    """Base of the deployments that are found out. `_seeds` are the servers that the address names."""

    def __init__(self, address: Address, limits: LinkLimits, clock: Clock, rng: random.Random) -> None:
        super().__init__(address, limits, clock, rng)
        self._hurry = asyncio.Event()
        self._seeds = {
            place: Server(place, self._seed_access(), rng, self._notice) for place in address.places
        }
        self._misfit: Misconfigured | None = None

    def doubt(self) -> None:
        self._hurry.set()

    @abstractmethod
    def _seed_access(self) -> Access:
        """How the servers that the address names let one in."""

    @abstractmethod
    async def _look(self) -> None:
        """Ask where everything is, and link to it."""

    def _begin(self) -> None:
        for seed in self._seeds.values():
            seed.start()
        self._tasks.supervise(f"follow {self.address}", self._follow)

    def _notice(self) -> None:
        super()._notice()
        self._hurry.set()

    async def _follow(self) -> None:
        while True:
            await wait_event(self._hurry, LOOK_S if self.up else LOOK_WHILE_DOWN_S, self.clock)
            self._hurry.clear()
            await self._look()
            await self.clock.sleep(LOOK_AGAIN_S)

    async def _ask_all(self, servers: Iterable[Server], command: Command) -> list[tuple[Server, Reply]]:
        """What those answer that can, errors among it. Bounded by the links' own patience."""
        asked = [server for server in servers if server.link is not None][:VOICES_MAX]
        answers = await asyncio.gather(*(_ask(server, command) for server in asked))
        return [(server, answer) for server, answer in zip(asked, answers, strict=True) if answer is not None]

    def _lost(self, what: str) -> Unavailable:
        """Why nobody can say where everything is."""
        troubles = [seed.trouble for seed in self._seeds.values() if seed.link is None]
        if self._misfit is not None:
            return self._misfit
        if not troubles:
            return Unavailable(f"{what} has not been found yet")
        misfits = [trouble for trouble in troubles if isinstance(trouble, Misconfigured)]
        kind = Misconfigured if len(misfits) == len(self._seeds) else Unavailable
        return kind(f"{what} cannot be found: {'; '.join(map(str, troubles))}")


async def _ask(server: Server, command: Command) -> Reply:
    try:
        (reply,) = await server.up().call([command])
    except Unavailable:
        return None
    return reply
