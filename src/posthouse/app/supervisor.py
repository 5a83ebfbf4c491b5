"""Runs several workers, each a node in a process of its own, and acts on the orders of `health.crew`.

One thread, no event loop: it sleeps in a selector over the workers' lines and signals. A worker that hangs is killed by
SIGKILL, which also ends one that was stopped. No worker outlives it: their lines end with it, and they stop.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from posthouse.app.pulse import port_of, words_of
from posthouse.health.crew import Crew, CrewRule, Do, Order
from posthouse.kit.clock import Clock, SystemClock
from posthouse.kit.log import logger

_log = logger(__name__)

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*_STOPPING, signal.SIGHUP, signal.SIGCHLD)


class GaveUp(Exception):
    """No worker ever became ready; the message says which one was tried and how it ended."""


class Start(NamedTuple):
    """How to start a worker. `line` is the descriptor that it inherits, `why` what it replaces another for."""

    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass
class _Process:
    popen: "subprocess.Popen[bytes]"
    line: socket.socket
    heard: bytes = b""


class Supervisor:
    """`run` returns when all workers have ended."""

    def __init__(
        self,
        count: int,
        rule: CrewRule,
        how: Callable[[int, int, str], Start],
        on_ready: Callable[[int], None],
        clock: Clock | None = None,
    ) -> None:
        """`how(number, line, why)` says how to start a worker; `on_ready(port)` is called once, when all serve."""
        self._clock = clock or SystemClock()
        self.crew = Crew(count, rule, self._clock.monotonic())
        self._how = how
        self._on_ready = on_ready
        self._greeted = False
        self._processes: dict[int, _Process] = {}
        self._selector = selectors.DefaultSelector()
        self._port = 0

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; a second one kills. SIGHUP restarts the workers one by one.

        Raises `GaveUp` when no worker ever became ready.
        """
        with self._signals() as told:
            self._selector.register(told, selectors.EVENT_READ)
            try:
                while not self.crew.over:
                    self._obey(self.crew.orders(self._clock.monotonic()))
                    self._wait(told)
                    self._reap()
            finally:
                self._kill_all()
        if self.crew.failed:
            raise GaveUp(self.crew.failed)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Signals become bytes on a socket, so that the selector wakes up."""
        told, tell = socket.socketpair()
        tell.setblocking(False)
        told.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        waker = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
        try:
            yield told
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler)
            told.close()
            tell.close()

    def _wait(self, told: socket.socket) -> None:
        """Until something happens or the crew wants to be asked again."""
        for key, _ in self._selector.select(self.crew.pause_s(self._clock.monotonic())):
            if key.data is None:
                for number in told.recv(4096):
                    self._signalled(number)
            else:
                self._hear(key.data)

    def _signalled(self, number: int) -> None:
        if number in _STOPPING:
            if self.crew.stopping:
                _log.warning("told to stop twice; killing all workers")
                self._kill_all()
            _log.info("stopping all workers", signal=signal.Signals(number).name)
            self.crew.stop(self._clock.monotonic())
        elif number == signal.SIGHUP:
            _log.info("restarting all workers, one by one")
            self.crew.roll()

    def _hear(self, number: int) -> None:
        process = self._processes[number]
        try:
            heard = process.line.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._selector.unregister(process.line)
            return
        words, process.heard = words_of(process.heard, heard)
        now = self._clock.monotonic()
        for word in words:
            port = port_of(word)
            if port is not None:
                self._port = port
                self.crew.ready(number, now)
                _log.info("a worker is ready", worker=number, pid=process.popen.pid)
            self.crew.beat(number, now)
        if self.crew.all_ready and not self._greeted:
            self._greeted = True
            self._on_ready(self._port)

    def _reap(self) -> None:
        for number, process in list(self._processes.items()):
            status = process.popen.poll()
            if status is not None:
                del self._processes[number]
                with contextlib.suppress(KeyError):
                    self._selector.unregister(process.line)
                process.line.close()
                words = _words(status)
                write = _log.info if self.crew.stopping else _log.warning
                write("a worker has ended", worker=number, status=words)
                self.crew.exited(number, words, self._clock.monotonic())

    def _obey(self, orders: Sequence[Order]) -> None:
        for order in orders:
            _log.info(f"{order.do.value} a worker", worker=order.worker, reason=order.why)
            if order.do is Do.START:
                self._start(order.worker, order.why)
            else:
                number = signal.SIGTERM if order.do is Do.STOP else signal.SIGKILL
                self._processes[order.worker].popen.send_signal(number)

    def _start(self, number: int, why: str) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        start = self._how(number, theirs.fileno(), why)
        popen = subprocess.Popen(
            start.command,
            env=dict(start.environment),
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # so that Ctrl-C reaches the supervisor alone, which then ends them in order
        )
        theirs.close()
        self._processes[number] = _Process(popen, ours)
        self._selector.register(ours, selectors.EVENT_READ, number)
        self.crew.started(number, self._clock.monotonic())

    def _kill_all(self) -> None:
        for process in self._processes.values():
            process.popen.kill()
            process.popen.wait()


def _words(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def hold_port(host: str, port: int) -> socket.socket:
    """Take the port that the workers will share, without listening. Raises `OSError` when somebody else listens there.

    First alone, which fails beside anybody; then again as one who shares.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind((host, port))
        port = alone.getsockname()[1]
    shared = socket.socket(family)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    shared.bind((host, port))
    return shared


def environment_of(number: int, name: str, direct_port: int, agent_port: int) -> dict[str, str]:
    """The caller's environment, with what makes one worker differ from another. One alone needs no `direct_port`."""
    own = {"POSTHOUSE_NODE_NAME": f"{name}-{number}" if direct_port else name}
    if direct_port:
        own["POSTHOUSE_LISTEN_DIRECT_PORT"] = str(direct_port)
    if agent_port:
        own["POSTHOUSE_AGENT_PORT"] = str(agent_port + number - 1)
    return {**os.environ, **own}
