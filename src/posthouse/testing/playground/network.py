"""The playground's network, when it is `proxied`: a fault proxy stands before every server, and a host can be cut off.

A connection belongs to two hosts: the one it leads to, by its proxy, and the one it comes from, found through the
process that holds its other end. That is looked up only while something is cut, so an unharmed network costs little.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Literal

import psutil

from posthouse.kit.clock import Clock
from posthouse.testing.faultproxy import NONE, FaultProxy, Faults, Judge
from posthouse.testing.playground.part import Port

Way = Literal["both", "in", "out"]
"""What is cut of a host: `in`, nothing reaches it; `out`, nothing it says reaches anybody."""


class Network:
    """`roots` gives the first processes of every host: process id to name."""

    def __init__(self, clock: Clock, rng: random.Random, roots: Callable[[], Mapping[int, str]]) -> None:
        self._clock = clock
        self._rng = rng
        self._roots = roots
        self._proxies: list[FaultProxy] = []
        self._cut: dict[str, Way] = {}
        self._slow: dict[str, Faults] = {}

    def before(self, name: str, listen: int, public: int) -> Port:
        """A proxy before the host `name`'s server that will listen on `listen`."""
        proxy = FaultProxy(listen, self._clock, self._rng, port=public, judge=self._judge_of(name))
        self._proxies.append(proxy)
        return Port(listen, public)

    async def start(self) -> None:
        """Let all proxies listen that do not yet. Raises OSError."""
        for proxy in self._proxies:
            if not proxy.listening:
                await proxy.start()

    async def close(self) -> None:
        """End all connections."""
        await asyncio.gather(*(proxy.close() for proxy in self._proxies))

    def cut_of(self, name: str) -> str:
        """Which way a host is cut off, if at all."""
        return self._cut.get(name, "slow" if name in self._slow else "")

    async def cut(self, name: str, way: Way) -> None:
        """Cut a host off; its connections stay and are silent."""
        self._cut[name] = way
        await self._review()

    async def slow(self, name: str, faults: Faults) -> None:
        """Give every connection of a host latency, or little bandwidth."""
        self._slow[name] = faults
        await self._review()

    async def heal(self, name: str) -> None:
        """All that was held back is delivered."""
        self._cut.pop(name, None)
        self._slow.pop(name, None)
        await self._review()

    async def _review(self) -> None:
        for proxy in self._proxies:
            await proxy.review()

    def _judge_of(self, target: str) -> Judge:
        async def judge(source: int) -> Faults:
            if not self._cut and not self._slow:
                return NONE
            origin = await asyncio.to_thread(self._host_of, source)
            return self.verdict(target, origin)

        return judge

    def verdict(self, target: str, origin: str) -> Faults:
        """What a connection to `target` suffers that comes from `origin`."""
        towards, back = self._cut.get(target), self._cut.get(origin)
        faults = self._slow.get(target) or self._slow.get(origin) or NONE
        return faults._replace(
            to_server_cut=towards in ("both", "in") or back in ("both", "out"),
            to_client_cut=towards in ("both", "out") or back in ("both", "in"),
        )

    def _host_of(self, port: int) -> str:
        """The host whose process holds the connection from this port; empty for one that is none of ours."""
        roots = self._roots()
        for connection in psutil.net_connections("tcp4"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return _ancestor(connection.pid, roots)
        return ""


def _ancestor(pid: int, roots: Mapping[int, str]) -> str:
    while pid > 1:
        if pid in roots:
            return roots[pid]
        try:
            pid = psutil.Process(pid).ppid()
        except psutil.NoSuchProcess:
            return ""
    return ""
