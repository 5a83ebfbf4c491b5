"""One server of the playground: started, stopped, killed, paused and resumed with every process of its host.

Belongs to one event loop. A part is never restarted by itself: what a person kills stays dead until they start it.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
import psutil

from posthouse.kit.clock import Clock
from posthouse.testing.playground import clocks

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
POLL_S = 0.05
LOG_LINES_SHOWN = 15
_FOREIGN = ("POSTHOUSE_", "PATRONI_", "ETCD", "PG", "VALKEY", "REDIS")
"""Settings of the caller's environment must not reach the playground's servers."""


class PartFailed(RuntimeError):
    """A server did not start; the message holds the end of its log."""


class State(StrEnum):
    """What the playground knows of a part."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    KILLED = "killed"
    STOPPED = "stopped"
    ENDED = "ended"
    """It ended by itself; its log says why."""


class PartStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One part as `posthouse cluster status` shows it. `cut`: which ways of its connections are cut, if any."""

    name: str
    group: str
    state: State
    role: str = ""
    healthy: bool = False
    detail: str = ""
    address: str = ""
    pid: int = 0
    cut: str = ""


class Port(msgspec.Struct, frozen=True):
    """Where a server listens, and where the others reach it: elsewhere when the fault proxy stands between."""

    listen: int
    public: int

    def __str__(self) -> str:
        return f"127.0.0.1:{self.public}"


class Part:
    """A server. `group` names it together with its like: `database-a`, `cache`, `etcd`, `node` …"""

    def __init__(self, name: str, group: str, folder: Path, port: Port, clock: Clock) -> None:
        self.name = name
        self.group = group
        self.folder = folder
        self.port = port
        self.log = folder / "log"
        self.intent = State.WAITING
        self.clock_off_s = 0.0
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.state}>"

    # What each kind of server says of itself

    def command(self) -> Sequence[str | Path]:
        """How it is started."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Write its configuration."""

    def environment(self) -> Mapping[str, str]:
        """What it is told beside the caller's environment."""
        return {}

    async def ready(self) -> bool:
        """Whether it answers as one that works."""
        raise NotImplementedError

    async def describe(self) -> tuple[str, bool, str]:
        """Its role, whether it is healthy, and a detail worth a look."""
        return "", await self.ready(), ""

    def extra_processes(self) -> list[psutil.Process]:
        """Processes of its host that are no descendants of the one started."""
        return []

    # Life

    @property
    def state(self) -> State:
        """Its state, looking whether it has ended by itself."""
        if self.intent in (State.STARTING, State.RUNNING) and self._ended():
            return State.ENDED
        return self.intent

    @property
    def pid(self) -> int:
        """The first process; 0 when there is none."""
        return self._process.pid if self._process is not None and not self._ended() else 0

    async def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start it and return once it is ready. Raises `PartFailed`."""
        await self.launch()
        give_up_at = self._clock.monotonic() + timeout_s
        while not await self.ready():
            if self._ended():
                raise PartFailed(f"{self.name} ended with status {self._status()}\n{self.log_tail()}")
            if self._clock.monotonic() > give_up_at:
                raise PartFailed(f"{self.name} was not ready after {timeout_s:g} s\n{self.log_tail()}")
            await self._clock.sleep(POLL_S)
        if self.intent is State.STARTING:
            self.intent = State.RUNNING

    async def launch(self) -> None:
        """Start its process, without waiting for more."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.prepare()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        self.intent = State.STARTING
        wrong_clock = clocks.environment(self.clock_off_s)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command(),
                cwd=self.folder,
                env={**kept, "PYTHONUNBUFFERED": "1", **wrong_clock, **self.environment()},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def stop(self) -> None:
        """Ask it to end, as an operator would, and wait until it has."""
        if self._process is None or self._ended():
            self.intent = State.STOPPED
            return
        self._signal_all(signal.SIGCONT)
        self.intent = State.STOPPED
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
            self.intent = State.STOPPED

    async def kill(self) -> None:
        """SIGKILL every process of its host at once, as if the machine had lost its power."""
        self.intent = State.KILLED
        for process in self._freeze():
            _send(process, signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    def pause(self) -> None:
        """SIGSTOP every process of its host: connections stay open, nothing is answered."""
        self._freeze()
        self.intent = State.PAUSED

    def resume(self) -> None:
        """Let a paused host go on."""
        if self.intent is State.PAUSED:
            self._signal_all(signal.SIGCONT)
            self.intent = State.RUNNING

    def processes(self) -> list[psutil.Process]:
        """Every process of its host."""
        first = self._process and _process(self._process.pid)
        roots = ([first] if first else []) + self.extra_processes()
        found = {root.pid: root for root in roots}
        for root in roots:
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {child.pid: child for child in root.children(recursive=True)}
        return list(found.values())

    def log_tail(self, lines: int = LOG_LINES_SHOWN) -> str:
        """The last lines of its log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    async def status(self) -> PartStatus:
        """As it is now; a server that does not answer soon is not healthy."""
        role, healthy, detail = "", False, ""
        if self.state in (State.RUNNING, State.STARTING):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    role, healthy, detail = await self.describe()
        state = State.RUNNING if healthy and self.state is State.STARTING else self.state
        return PartStatus(
            name=self.name,
            group=self.group,
            state=state,
            role=role,
            healthy=healthy,
            detail=detail,
            address=str(self.port),
            pid=self.pid,
        )

    # Inside

    def _ended(self) -> bool:
        return self._process is None or self._process.returncode is not None

    def _status(self) -> int | None:
        return self._process.returncode if self._process is not None else None

    def _freeze(self) -> list[psutil.Process]:
        """Stop all processes, again until no new one has come: a stopped one starts no others."""
        stopped: dict[int, psutil.Process] = {}
        while fresh := [each for each in self.processes() if each.pid not in stopped]:
            for process in fresh:
                _send(process, signal.SIGSTOP)
                stopped[process.pid] = process
        return list(stopped.values())

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self.processes():
            _send(process, number)


def written(path: Path, text: str) -> Path:
    """Write a file that only its owner may read."""
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    return path


async def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of this machine."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _send(process: psutil.Process, number: signal.Signals) -> None:
    send: Callable[[int], None] = process.send_signal
    with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
        send(number)
