"""The playground as its users hold it: brought up in a process of its own, asked through a socket, taken down.

Blocking, as `LocalPostgres` and `LocalServer` are; in a coroutine, use `asyncio.to_thread`.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from posthouse.app.secrets import Secrets, load
from posthouse.kit.clock import SystemClock
from posthouse.testing.playground.plan import (
    PLAN_FILE,
    SOCKET_FILE,
    Answer,
    ClusterStatus,
    Plan,
    Refused,
    Request,
)
from posthouse.testing.playground.programs import find_programs

KEEPER = "posthouse.testing.playground.keeper"
ANSWER_TIMEOUT_S = 150.0
UP_TIMEOUT_S = 180.0
DOWN_TIMEOUT_S = 30.0
POLL_S = 0.2
SILENCE_S_MAX = 20.0
"""A playground that has not answered for so long while it comes up has ended."""
_IN_BACKGROUND = '"$@" </dev/null >/dev/null 2>&1 &'
AS_ORDINARY_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
"""PostgreSQL refuses root: in a user namespace root's processes are those of an ordinary user, with root's files."""


_clock = SystemClock()


class NotRunning(RuntimeError):
    """No playground runs in the folder."""


class Cluster:
    """A playground that runs, or is to run, in `folder`. Other processes may speak to the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._keeper: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Cluster in {self.folder}>"

    # Life

    def begin(self, plan: Plan, *, detached: bool = False) -> None:
        """Start the playground's process, which brings the cluster up; ends with us unless `detached`.

        Raises `ProgramMissing`, or `Refused` when the folder is in use or holds something else.
        """
        find_programs()
        self._take_folder()
        (self.folder / PLAN_FILE).write_bytes(msgspec.json.encode(plan))
        command = [*_as_user(), sys.executable, "-m", KEEPER, str(self.folder)]
        if detached:
            subprocess.run(
                ["/bin/sh", "-c", _IN_BACKGROUND, "playground", *command, "detached"],
                check=True,
                start_new_session=True,
            )
            return
        self._keeper = subprocess.Popen(
            [*command, "attached"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )

    def wait_up(self, show: Callable[[ClusterStatus], None] = lambda status: None) -> ClusterStatus:
        """Return once all is up; `show` is called with each look at it. Raises `Refused` when it cannot be."""
        begun = heard_at = _clock.monotonic()
        while True:
            with contextlib.suppress(NotRunning):
                status = self.status()
                heard_at = _clock.monotonic()
                show(status)
                if status.state == "up":
                    return status
                if status.state == "failed":
                    raise Refused(status.error, status.todo)
            ended = self._keeper is not None and self._keeper.poll() is not None
            if ended or _clock.monotonic() - heard_at > SILENCE_S_MAX:
                raise Refused("The playground ended while it came up.")
            if _clock.monotonic() - begun > UP_TIMEOUT_S:
                raise Refused(f"The playground was not up after {UP_TIMEOUT_S:g} s.")
            _pause()

    def wait_end(self) -> None:
        """Return when the playground that this process has begun is down."""
        if self._keeper is not None:
            self._keeper.wait()

    def down(self) -> None:
        """End everything and remove the folder. May be called twice, and by another process than began it."""
        keeper, self._keeper = self._keeper, None
        runs = keeper is not None
        with contextlib.suppress(NotRunning, ConnectionError):
            self.ask("down")
            runs = True
        if keeper is not None:
            if keeper.stdin is not None:
                keeper.stdin.close()
            keeper.wait()
        give_up_at = _clock.monotonic() + DOWN_TIMEOUT_S
        while runs and self.folder.exists() and _clock.monotonic() < give_up_at:
            _pause()
        if (self.folder / PLAN_FILE).exists():  # the keeper is gone too, as after a power cut
            shutil.rmtree(self.folder)

    # Use

    @property
    def secrets(self) -> Secrets:
        """The keys that the nodes share."""
        return load(self.folder)

    def status(self) -> ClusterStatus:
        """How it is now. Raises `NotRunning`."""
        status = self.ask("status").status
        assert status is not None
        return status

    def act(self, verb: str, what: str, **how: Any) -> tuple[str, ...]:
        """Do `verb` to what is meant; the names of the parts. Raises `Refused`, `NotRunning`."""
        return self.ask(verb, what, how).parts

    def ask(self, do: str, what: str = "", how: Mapping[str, Any] | None = None) -> Answer:
        """One request to the playground's process. Raises `Refused` when it says no, and `NotRunning`."""
        with self._connected() as connection:
            connection.sendall(msgspec.json.encode(Request(do, what, dict(how or {}))) + b"\n")
            line = connection.makefile("rb").readline()
        if not line:
            raise NotRunning(f"The playground in {self.folder} ended.")
        answer = msgspec.json.decode(line, type=Answer)
        if answer.error:
            raise Refused(answer.error, answer.todo)
        return answer

    def _connected(self) -> socket.socket:
        """Through the folder's descriptor: a socket's path may have 107 bytes only."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            folder = os.open(self.folder, os.O_RDONLY)
        except OSError:
            connection.close()
            raise NotRunning(f"There is no playground in {self.folder}.") from None
        try:
            connection.connect(f"/proc/self/fd/{folder}/{SOCKET_FILE}")
        except OSError:
            connection.close()
            raise NotRunning(f"No playground runs in {self.folder}.") from None
        finally:
            os.close(folder)
        return connection

    def _take_folder(self) -> None:
        with contextlib.suppress(NotRunning):
            self._connected().close()
            raise Refused(
                f"A playground runs in {self.folder} already.",
                "`posthouse cluster status` shows it, `posthouse cluster down` ends it.",
            )
        if self.folder.exists() and any(self.folder.iterdir()):
            if not (self.folder / PLAN_FILE).exists():
                raise Refused(f"{self.folder} is not empty.", "Name another folder with --data.")
            shutil.rmtree(self.folder)  # of a playground whose machine went down
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)


class LocalCluster(Cluster):
    """As a context manager: up from entry on, in a temporary folder, and gone on exit."""

    def __init__(self, plan: Plan | None = None) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="posthouse-cluster-")))
        self.plan = plan or Plan()

    def __enter__(self) -> Self:
        try:
            self.begin(self.plan)
            self.wait_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)


def _pause() -> None:
    threading.Event().wait(POLL_S)


def _as_user() -> tuple[str, ...]:
    """What stands before the keeper's command, so that PostgreSQL agrees to run. Raises `Refused`."""
    if os.geteuid() != 0:
        return ()
    tried = subprocess.run([*AS_ORDINARY_USER, "true"], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return AS_ORDINARY_USER
    raise Refused(
        f"PostgreSQL refuses to run as root, and here it cannot be given a user of its own: {tried.stderr.strip()}.",
        "Run this as an ordinary user.",
    )
