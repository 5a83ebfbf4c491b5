"""The playground's network, when it is `proxied`: a fault proxy stands before every server, and a host can be cut off.

A connection belongs to two hosts: the one it leads to, by its proxy, and the one it comes from, found through the
process that holds its other end. That is looked up only where a fault may concern it, as a look takes time. Both its
ports name a connection: the kernel gives one port to several that lead elsewhere.
Belongs to one event loop.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from posthouse.kit.clock import Clock
from posthouse.kit.tasks import start
from posthouse.testing.faultproxy import NONE, FaultProxy, Faults, Judge
from posthouse.testing.playground.lookout import Ends, Lookout
from posthouse.testing.playground.part import Port

GATHER_S = 0.05
"""Before a look, so that many connections that begin together share it: it holds up the proxies' own work."""
Way = Literal["both", "in", "out"]
"""What is cut of a host: `in`, nothing reaches it; `out`, nothing it says reaches anybody."""


class Network:
    """`roots` gives the first processes of every host: process id to name."""

    def __init__(self, clock: Clock, rng: random.Random, roots: Callable[[], Mapping[int, str]]) -> None:
        self._clock = clock
        self._rng = rng
        self._roots = roots
        self._proxies: list[tuple[str, FaultProxy]] = []
        self._cut: dict[str, Way] = {}
        self._links: dict[tuple[str, str], Way] = {}
        self._slow: dict[str, Faults] = {}
        self._origins: dict[Ends, str] = {}
        """The hosts that connections come from, as of the last look."""
        self._lookout = Lookout()
        self._looking = asyncio.Lock()
        self._next_look: asyncio.Task[None] | None = None

    def before(self, name: str, listen: int, public: int) -> Port:
        """A proxy before the host `name`'s server that will listen on `listen`."""
        proxy = FaultProxy(listen, self._clock, self._rng, port=public, judge=self._judge_of(name, public))
        self._proxies.append((name, proxy))
        return Port(listen, public)

    async def start(self) -> None:
        """Let all proxies listen that do not yet. Raises OSError."""
        if self._proxies:
            await self._lookout.start()
        for _, proxy in self._proxies:
            if not proxy.listening:
                await proxy.start()

    async def close(self) -> None:
        """End all connections."""
        await asyncio.gather(*(proxy.close() for _, proxy in self._proxies))
        await self._lookout.close()

    def cut_of(self, name: str) -> str:
        """Which way a host is cut off, if at all."""
        from_some = any(name == each for each, _ in self._links)
        return self._cut.get(name, "some" if from_some else "slow" if name in self._slow else "")

    async def cut(self, name: str, way: Way) -> None:
        """Cut a host off; its connections stay and are silent."""
        self._cut[name] = way
        await self._review()

    async def cut_from(self, name: str, others: Iterable[str], way: Way) -> None:
        """Cut a host off from some others only. `in`: nothing of theirs reaches it; `out`: nothing of its them."""
        self._links |= {(name, other): way for other in others if other != name}
        await self._review()

    async def slow(self, name: str, faults: Faults) -> None:
        """Give every connection of a host latency, or little bandwidth."""
        self._slow[name] = faults
        await self._review()

    async def heal(self, name: str) -> None:
        """All that was held back is delivered."""
        self._cut.pop(name, None)
        self._slow.pop(name, None)
        self._links = {link: way for link, way in self._links.items() if link[0] != name}
        await self._review()

    async def reset(self, name: str) -> None:
        """End every connection of a host at once, and tell both ends; new ones may be made."""
        await self._look()
        for target, proxy in self._proxies:
            proxy.reset(self._concerns(name, target, proxy.port))

    async def half_open(self, name: str) -> None:
        """As `reset`, but whoever began a connection is not told."""
        await self._look()
        for target, proxy in self._proxies:
            proxy.half_open(self._concerns(name, target, proxy.port))

    def _concerns(self, name: str, target: str, port: int) -> Callable[[int], bool]:
        return lambda source: name in (target, self._origins.get((source, port)))

    async def _review(self) -> None:
        await asyncio.gather(*(proxy.review() for _, proxy in self._proxies))

    def _judge_of(self, target: str, port: int) -> Judge:
        async def judge(source: int) -> Faults:
            if not self.concerns(target):
                return NONE
            await self._look()
            return self.verdict(target, self._origins.get((source, port), ""))

        return judge

    def concerns(self, target: str) -> bool:
        """Whether any connection to `target` may suffer something now."""
        return bool(self._cut or self._slow) or any(target in link for link in self._links)

    def verdict(self, target: str, origin: str) -> Faults:
        """What a connection to `target` suffers that comes from `origin`."""
        theirs = {self._cut.get(target), self._links.get((target, origin))}
        ours = {self._cut.get(origin), self._links.get((origin, target))}
        faults = self._slow.get(target) or self._slow.get(origin) or NONE
        return faults._replace(
            to_server_cut=bool(theirs & {"both", "in"} or ours & {"both", "out"}),
            to_client_cut=bool(theirs & {"both", "out"} or ours & {"both", "in"}),
        )

    async def _look(self) -> None:
        """See who holds which connection, after this call began; those who ask meanwhile share one look."""
        if self._next_look is None:
            self._next_look = start(self._look_once())
        await asyncio.shield(self._next_look)

    async def _look_once(self) -> None:
        async with self._looking:
            await self._clock.sleep(GATHER_S)
            self._next_look = None
            self._origins = await self._lookout.look(self._roots())
