"""Hosts and what lies between them: latency, cuts in one or both directions, crashes, freezes. On virtual time.

A host's name stands for a machine; a `Host` is one life of it. What a dead host has started never comes to anything,
and what a frozen one does waits until it thaws.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from posthouse.kit.clock import Clock
from posthouse.kit.tasks import Tasks, start

T = TypeVar("T")


class Unreachable(Exception):
    """Nobody answers, or the connection broke: whether the other side did anything is not known."""


class Host:
    """One life of a machine, from start to crash."""

    def __init__(self, name: str, network: "Network", clock: Clock) -> None:
        self.name = name
        self.network = network
        self.clock = clock
        self.alive = True
        self.tasks = Tasks(clock)
        self.ended: list[Callable[[], None]] = []
        """What the rest of the world sees of a crash: connections that break."""
        self._thawed = asyncio.Event()
        self._thawed.set()

    def __repr__(self) -> str:
        return f"<Host {self.name} {'alive' if self.alive else 'dead'}>"

    @property
    def frozen(self) -> bool:
        """True while nothing on this host moves."""
        return not self._thawed.is_set()

    @property
    def moves(self) -> bool:
        """True for a live host that is not frozen."""
        return self.alive and self._thawed.is_set()

    def freeze(self) -> None:
        """Stop everything, as SIGSTOP does; the network keeps what is sent here."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Go on as if nothing had been."""
        self._thawed.set()

    async def awake(self) -> None:
        """Return when the host is not frozen; never, once it is dead."""
        await self._thawed.wait()
        if not self.alive:
            await asyncio.Event().wait()

    async def awake_or_dead(self) -> None:
        """Return when the host is not frozen, or dead."""
        await self._thawed.wait()

    def crash(self) -> None:
        """The process is gone, in mid-sentence."""
        self.alive = False
        self._thawed.set()
        ended, self.ended = self.ended, []
        for tell in ended:
            tell()


class HostClock:
    """A host's own clock: its wall clock may be wrong, and nothing wakes while the host is frozen."""

    def __init__(self, clock: Clock, skew_ms: int = 0) -> None:
        self._clock = clock
        self.skew_ms = skew_ms
        self.host: Host | None = None

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.skew_ms

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if self.host is not None and not self.host.moves:
            await self.host.awake()


class Network:
    """Carries messages between the hosts that there are."""

    def __init__(
        self, clock: Clock, rng: random.Random, *, latency_s: tuple[float, float] = (0.0005, 0.01)
    ) -> None:
        self.clock = clock
        self.tasks = Tasks(clock)
        self.hosts: dict[str, Host] = {}
        self.slow: dict[str, float] = {}
        """Additional seconds that everything from or to a host takes at most."""
        self._rng = rng
        self._latency_s = latency_s
        self._cuts: set[tuple[str, str]] = set()
        self._healed = asyncio.Event()
        self._under_way: dict[asyncio.Task[Any], None] = {}

    def start(self, name: str, *, skew_ms: int = 0) -> Host:
        """A new life for the host `name`."""
        clock = HostClock(self.clock, skew_ms)
        host = self.hosts[name] = clock.host = Host(name, self, clock)
        return host

    def cut(self, source: str, target: str) -> None:
        """Nothing more gets from one host to another, until healed."""
        self._cuts.add((source, target))

    def heal(self) -> None:
        """All cuts are mended; what was held goes on."""
        self._cuts.clear()
        self._wake()

    def mend(self, source: str, target: str) -> None:
        """This cut is mended; what it held goes on."""
        self._cuts.discard((source, target))
        self._wake()

    def _wake(self) -> None:
        healed, self._healed = self._healed, asyncio.Event()
        healed.set()

    def reset(self, name: str) -> None:
        """Every connection of a host breaks off."""
        host = self.hosts[name]
        ended, host.ended = host.ended, []
        for tell in ended:
            tell()

    def is_cut(self, source: str, target: str) -> bool:
        """True while nothing gets from one to the other."""
        return (source, target) in self._cuts

    async def travel(self, source: str, target: str) -> None:
        """Return when something sent now has arrived: after the latency, and when nothing stands in between."""
        slow = max(self.slow.get(source, 0.0), self.slow.get(target, 0.0))
        await self.clock.sleep(self._rng.uniform(*self._latency_s) + self._rng.random() * slow)
        while self.is_cut(source, target):
            await self._healed.wait()

    async def call(self, source: Host, target: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Have `work` done at another host. The answer may never come: callers bound their waiting.

        Raises `Unreachable` when the target is down, or goes down meanwhile.
        """
        await source.awake()
        await self.travel(source.name, target)
        host = self.hosts.get(target)
        if host is None or not host.alive:
            await self.travel(target, source.name)
            raise Unreachable(f"{target} is down")
        await host.awake()
        result = await self._on(host, work())
        await self.travel(target, source.name)
        await source.awake()
        return result

    async def call_within(
        self, timeout_s: float, source: Host, target: str, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """As `call`; raises `Unreachable` when there was no answer in time as well."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.call(source, target, work)
        except TimeoutError:
            raise Unreachable(f"{target} did not answer within {timeout_s:g} s") from None

    async def ask_within(self, timeout_s: float, source: Host, target: str, query: Callable[[], T]) -> T:
        """As `call_within`, for what takes no time at the other host: most of what happens, and so made cheap."""
        until = self.clock.monotonic() + timeout_s
        try:
            await _awake_until(source, until)
            await self._arrive(source.name, target, until)
            host = self.hosts.get(target)
            if host is None or not host.alive:
                await self._arrive(target, source.name, until)
                raise Unreachable(f"{target} is down")
            await _awake_until(host, until)
            result = query()
            await self._arrive(target, source.name, until)
            await _awake_until(source, until)
        except TimeoutError:
            raise Unreachable(f"{target} did not answer within {timeout_s:g} s") from None
        return result

    async def _arrive(self, source: str, target: str, until: float) -> None:
        """As `travel`; raises `TimeoutError` when it takes longer."""
        slow = max(self.slow.get(source, 0.0), self.slow.get(target, 0.0)) if self.slow else 0.0
        takes_s = self._rng.uniform(*self._latency_s) + self._rng.random() * slow
        left_s = until - self.clock.monotonic()
        await self.clock.sleep(min(takes_s, left_s))
        if takes_s >= left_s:
            raise TimeoutError
        if (source, target) in self._cuts:
            async with asyncio.timeout_at(until):
                while self.is_cut(source, target):
                    await self._healed.wait()

    async def _on(self, host: Host, work: Coroutine[Any, Any, T]) -> T:
        """The result of work at a host. It ends with the host; a caller who gives up does not stop it."""
        task = start(work)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            task.cancel()
            if not over.done():
                over.set_result(None)

        def forget(ended: asyncio.Task[T]) -> None:
            if not over.done():
                over.set_result(None)
            self._under_way.pop(ended, None)
            if end in host.ended:
                host.ended.remove(end)
            if not ended.cancelled():
                ended.exception()  # its caller may be gone

        self._under_way[task] = None
        host.ended.append(end)
        task.add_done_callback(forget)
        await over
        if not task.done() or task.cancelled():
            raise Unreachable(f"{host.name} went down")
        return task.result()


async def _awake_until(host: Host, until: float) -> None:
    """As `Host.awake`; raises `TimeoutError` when it takes longer."""
    if not host.moves:
        async with asyncio.timeout_at(until):
            await host.awake()
