"""Watches every server of an address, so that the primary and its replicas are known before anybody asks for them.

One loop for each host, each with a connection of its own: a frozen host delays only the news of itself. Where that was
lost and is made anew, others may be lost too and not know it. An address of one host is not watched; it is simply the
primary. Owned by one database; all in one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import Tasks, wait_event
from posthouse.storage.base import StorageError, StorageUnavailable
from posthouse.storage.engines.postgres.errors import VENDOR, mapped
from posthouse.storage.engines.postgres.hosts import (
    Host,
    HostState,
    Look,
    Mark,
    Role,
    choose_primary,
    lag_s,
)
from posthouse.storage.engines.postgres.probing import live_backends, look
from posthouse.storage.engines.postgres.session import WATCH_SETTINGS, Session, connect, drop_dead

_log = logger(__name__)

ASK_INTERVAL_S = 0.5
TROUBLED_INTERVAL_S = 0.2
"""While there is no primary: hosts are asked more often, so that a promotion is noticed soon."""
ASK_TIMEOUT_S = 1.0
FIRST_LOOK_S = 0.25
"""At the start nothing is known of timelines: so long is waited for all hosts, lest a replaced primary be believed."""
MARKS_MAX = 120


class Watch:
    """`hosts` may be primaries; `replicas` are watched as well, and never taken for one."""

    def __init__(self, hosts: Sequence[Host], replicas: Sequence[Host], clock: Clock) -> None:
        self._hosts = tuple(hosts)
        self._clock = clock
        self._states = {host: HostState(host) for host in dict.fromkeys((*hosts, *replicas))}
        self._watching = len(self._states) > 1
        self._current = None if len(hosts) > 1 else hosts[0]
        self._why = "no host has been asked yet"
        self._started = self._looked_around = False
        self._marks: deque[Mark] = deque(maxlen=MARKS_MAX)
        self._hurry = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks = Tasks(clock)
        self.timeline = 0
        self.switches = 0
        self.on_switch: Callable[[Host | None], None] = lambda host: None
        self.suspects: Callable[[Host], Sequence[Session]] = lambda host: ()
        """Other connections to a host, as there are at this moment."""

    @property
    def states(self) -> tuple[HostState, ...]:
        """What is known of each host now."""
        return tuple(map(self._with_lag, self._states.values()))

    async def start(self) -> None:
        """Begin to watch; returns once the primary is known or every host has been asked. May be called again."""
        if not self._watching:
            return
        if not self._started:
            self._started = True
            for host in self._states:
                self._tasks.supervise(f"watch {host.name}", partial(self._watch, host))
        await self._wait(FIRST_LOOK_S, lambda: self._unasked == 0)
        self._looked_around = True
        self._decide()
        await self._wait(ASK_TIMEOUT_S, lambda: self._current is not None or self._unasked == 0)

    async def close(self) -> None:
        """Stop watching."""
        await self._tasks.close()

    def primary(self) -> Host:
        """The primary of the moment. Raises `StorageUnavailable`, saying what each host is instead."""
        if self._current is None:
            raise StorageUnavailable(self._why)
        return self._current

    def doubt(self) -> None:
        """Something has failed on the primary: ask again at once."""
        self._hurry.set()

    async def _watch(self, host: Host) -> None:
        session: Session | None = None
        lost = False
        try:
            while True:
                try:
                    async with asyncio.timeout(ASK_TIMEOUT_S):
                        if session is None:
                            session = await connect(host, WATCH_SETTINGS, standby=None)
                        if lost:
                            drop_dead(self.suspects(host), await live_backends(session.connection))
                            lost = False
                        seen = await look(session.connection)
                    self._take(host, seen, "")
                except (StorageError, *VENDOR) as error:
                    lost = True
                    if session is not None:
                        session.drop()
                        session = None
                    why = error if isinstance(error, StorageError) else mapped(error, host.name)
                    self._take(host, None, f"away: {why}")
                await self._pause()
        finally:
            if session is not None:
                session.drop()

    async def _pause(self) -> None:
        troubled = self._current is None or self._states[self._current].role != "primary"
        self._hurry.clear()
        with suppress(TimeoutError):
            await wait_event(self._hurry, TROUBLED_INTERVAL_S if troubled else ASK_INTERVAL_S, self._clock)

    def _take(self, host: Host, seen: Look | None, why: str) -> None:
        before, now = self._states[host], self._clock.monotonic()
        role: Role = "away" if seen is None else "standby" if seen.standby else "primary"
        since = before.since if before.role == role else now
        self._states[host] = HostState(host, role, seen, since, why=why)
        if seen is not None and host == self._current and not seen.standby and seen.position is not None:
            self._marks.append(Mark(now, seen.position))
        self._decide()
        self._news.set()

    def _decide(self) -> None:
        if not self._looked_around:
            return
        candidates = [self._states[host] for host in self._hosts]
        choice = choose_primary(candidates, self._current, self.timeline, self._clock.monotonic())
        if choice.host is None and self._current is None:
            self._why = choice.why
            return
        before, self._current, self._why = self._current, choice.host, choice.why
        if choice.host is None:
            _log.error("the primary is lost", reason=choice.why)
            self.on_switch(None)
            return
        seen = self._states[choice.host].look
        newer = seen is not None and seen.timeline > self.timeline
        self.timeline = max(self.timeline, seen.timeline if seen is not None else 0)
        if choice.host != before or newer:
            self._marks.clear()
            self.switches += 1
            _log.info("the primary is found", reason=choice.why)
            self.on_switch(choice.host)

    def _with_lag(self, state: HostState) -> HostState:
        if state.role != "standby" or state.look is None:
            return state
        return replace(state, lag_s=lag_s(state.look.position, self._marks, self._clock.monotonic()))

    @property
    def _unasked(self) -> int:
        return sum(state.role == "unknown" for state in self._states.values())

    async def _wait(self, seconds: float, holds: Callable[[], bool]) -> None:
        give_up_at = self._clock.monotonic() + seconds
        while not holds() and (left_s := give_up_at - self._clock.monotonic()) > 0:
            self._news.clear()
            await wait_event(self._news, left_s, self._clock)
