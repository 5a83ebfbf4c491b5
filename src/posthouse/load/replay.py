"""Plays a chat log through SDK clients, one a nick, one group a day, and checks what every reader was given.

Survives a server that is killed and comes back: clients reconnect, resume and send again; the back end waits.
"""

import asyncio
import gzip
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from posthouse.client import Runtime
from posthouse.load.backend import Backend
from posthouse.load.cast import Cast
from posthouse.load.irc import Day, read
from posthouse.load.report import Report
from posthouse.load.stage import Stage


class Options(NamedTuple):
    """How a log is played.

    speed: times real time; 0 is as fast as the server allows. days: of the log's start; 0 is all of them.
    window: sends of one day that may wait for their acknowledgement. prefix: begins the ids of the groups, so that a
    log can be played again on the same server.
    """

    address: str
    api_key: str
    prefix: str
    speed: float = 0.0
    days: int = 0
    concurrent_days: int = 4
    window: int = 256
    reconnect_jitter_s: float = 5.0


def load(file: Path, days: int = 0) -> list[Day]:
    """The days of a log, gzipped or not; raises `BadLog` or `OSError`."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        return list(islice(read(lines), days or None))


class Replay:
    """One run. `report` is current at any time, for whoever shows progress."""

    def __init__(self, days: list[Day], options: Options, runtime: Runtime) -> None:
        self.report = Report()
        self._days = days
        self._options = options
        self._runtime = runtime
        self._backend = Backend(options.address, options.api_key, runtime)
        self._cast = Cast(options.address, self._backend, runtime, options.reconnect_jitter_s)

    async def run(self) -> Report:
        """Play all days, `concurrent_days` at once. Raises what the SDK raises when the server cannot be used."""
        clock = self._runtime.clock
        begun = clock.monotonic()
        waiting = iter(self._days)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._options.concurrent_days):
                    tasks.create_task(self._play(waiting))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        self.report.finish(clock.monotonic() - begun, self._cast.clients)
        return self.report

    async def _play(self, waiting: Iterator[Day]) -> None:
        for day in waiting:
            stage = Stage(
                day,
                f"{self._options.prefix}{day.name}",
                self._backend,
                self._runtime.clock,
                window=self._options.window,
                speed=self._options.speed,
                report=self.report,
            )
            await stage.play(self._cast)
