"""A server process for tests and the local playground: started, killed, frozen, and never outliving its owner.

Blocking on purpose, so that plain fixtures can own one; in a coroutine, use `asyncio.to_thread`. However the owner
ends, a keeper kills the server and removes its temporary folder.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from posthouse.testing.keeper import Keeper

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
_POLL_S = 0.01

# $1: the folder to remove, or nothing. Each line read is the server's process id, or empty once it has ended.
_SCRIPT = r"""
while read -r line; do pid=$line; done
[ -z "$pid" ] || { kill -CONT "$pid"; kill -KILL "$pid"; }
[ -z "$1" ] || { n=0; until rm -rf "$1" || [ $((n += 1)) -ge 50 ]; do sleep 0.1; done; }
"""


class ServerFailed(RuntimeError):
    """The server ended, or was not ready in time; the message holds the end of its log."""


class LocalProcess(ABC):
    """One server on loopback. As a context manager it is ready from entry on, and killed and wiped on exit.

    `folder` None makes a temporary one, removed at the end. A subclass says what is run and when it is ready.
    """

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name = name
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"posthouse-{name}-"))
        self.log = self.folder / "server.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._keeper: Keeper | None = None

    def __repr__(self) -> str:
        state = "running" if self._server else "stopped"
        return f"<{type(self).__name__} {state} at {self.url} in {self.folder}>"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    @abstractmethod
    def url(self) -> str:
        """The address to give to clients."""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._server is not None
        return self._server.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and not yet ended by its owner."""
        return self._server is not None

    def start(self) -> None:
        """Start the server and return once it says that it is ready."""
        if self._keeper is None:
            self._keeper = Keeper(_SCRIPT, self.folder if self._temporary else "")
        self.folder.mkdir(parents=True, exist_ok=True)
        command, environment = self._command(), self._environment()
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                command,
                cwd=self._working_folder(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches the owner, which then ends it in order
            )
        self._keeper.tell(self._server.pid)
        self._wait_ready(self._server)

    def stop(self) -> None:
        """Ask the server to end, as an operator would, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: the server ends in mid-sentence."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # until it really stands still

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server, and remove its folder if that is temporary. May be called twice."""
        self._end(signal.SIGKILL)
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # What a subclass says -------------------------------------------------------------------------------------------

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """What to run; asked at each start."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the server that was started does its work now."""

    def _environment(self) -> dict[str, str] | None:
        return None

    def _working_folder(self) -> Path | None:
        return None

    # Inside ---------------------------------------------------------------------------------------------------------

    def _wait_ready(self, server: subprocess.Popen[bytes]) -> None:
        for _ in range(round(START_TIMEOUT_S / _POLL_S)):
            try:
                status = server.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                if self._is_ready():
                    return
            else:
                self._end(signal.SIGKILL)
                raise ServerFailed(f"the server ended with status {status}\n{self.log_tail()}")
        self._end(signal.SIGKILL)
        raise ServerFailed(f"the server was not ready after {START_TIMEOUT_S:g} s\n{self.log_tail()}")

    def _end(self, how: signal.Signals) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(how)
            try:
                server.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            if self._keeper is not None:
                self._keeper.tell(None)

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(number)
