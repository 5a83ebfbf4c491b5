"""A real primary with replicas and Sentinels on loopback: blocking, and never outliving its owner, as `LocalValkey`."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from posthouse.testing.ports import free_ports
from posthouse.testing.process import LocalProcess
from posthouse.testing.valkey import LocalValkey, Setting, ask, find_binary, follows, is_primary, until


class _Sentinel(LocalProcess):
    """One Sentinel. It keeps what it learns in its configuration, as Sentinels do."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__("sentinel", folder)
        self._binary = find_binary()
        self.port = next(free_ports())
        self._file = self.folder / "sentinel.conf"
        self._id = hashlib.sha1(str(self.folder).encode(), usedforsecurity=False).hexdigest()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def watch(
        self, name: str, servers: Sequence[LocalValkey], sentinels: Sequence["_Sentinel"], down_after_ms: int
    ) -> None:
        """Whom to watch, whom to agree with. It would find out by itself, but only within many seconds."""
        primary, *replicas = servers
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel myid {self._id}",
            f"sentinel monitor {name} 127.0.0.1 {primary.port} {len(sentinels) // 2 + 1}",
            f"sentinel down-after-milliseconds {name} {down_after_ms}",
            f"sentinel failover-timeout {name} {max(2_000, 4 * down_after_ms)}",
            *([f'sentinel auth-pass {name} "{primary.password}"'] if primary.password else []),
            *(f"sentinel known-replica {name} 127.0.0.1 {replica.port}" for replica in replicas),
            *(
                f"sentinel known-sentinel {name} 127.0.0.1 {s.port} {s._id}"
                for s in sentinels
                if s is not self
            ),
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text("\n".join(lines) + "\n")

    def call(self, *command: str | bytes | int) -> Any:
        """What the Sentinel answers to one command."""
        return ask(self.port, [command])[0]

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, self._file, "--sentinel"]

    def _is_ready(self) -> bool:
        try:
            return self.call("PING") in (b"PONG", "PONG")
        except OSError:
            return False


class LocalSentinel:
    """A primary with replicas, and the Sentinels that watch it. A context manager, as `LocalValkey` is.

    A killed server comes back by `revive`. With less than a second of `down_after_ms` Sentinels take servers for dead
    that they have just begun to watch, and fail over twice. With `password` the servers ask for it; the Sentinels ask
    for none.
    """

    name: Final = "posthouse"

    def __init__(
        self,
        folder: Path | None = None,
        *,
        replicas: int = 1,
        sentinels: int = 3,
        down_after_ms: int = 1_200,
        password: str = "",
    ) -> None:
        settings: dict[str, Setting] = {"repl-diskless-sync-delay": 0}
        self.servers = [
            LocalValkey(folder and folder / f"server-{number}", settings=settings, password=password)
            for number in range(1 + replicas)
        ]
        self.sentinels = [_Sentinel(folder and folder / f"sentinel-{number}") for number in range(sentinels)]
        for sentinel in self.sentinels:
            sentinel.watch(self.name, self.servers, self.sentinels, down_after_ms)
        for replica in self.servers[1:]:
            replica.settings["replicaof"] = f"127.0.0.1 {self.servers[0].port}"

    def __repr__(self) -> str:
        return f"<LocalSentinel at {self.url}>"

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
    def url(self) -> str:
        """The address to give to clients."""
        password = self.servers[0].password
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{password and f':{password}@'}{places}/{self.name}"

    @property
    def primary(self) -> LocalValkey:
        """The server that the Sentinels name now."""
        _, port = self._asked_sentinel().call(*self._whom())
        return next(server for server in self.servers if server.port == int(port))

    @property
    def replicas(self) -> list[LocalValkey]:
        """The others."""
        primary = self.primary
        return [server for server in self.servers if server is not primary]

    def start(self) -> None:
        """Return once every replica follows, and the Sentinels could fail over."""
        for process in (*self.servers, *self.sentinels):
            process.start()
        until(lambda: all(map(follows, self.servers[1:])), "the replicas to follow")
        until(lambda: all(self._agrees(sentinel, "CKQUORUM") for sentinel in self.sentinels), "a quorum")

    def failover(self) -> None:
        """Make another server the primary, as an operator would; return once the Sentinels name it."""
        before = self.primary
        until(lambda: self._agrees(self._asked_sentinel(), "FAILOVER"), "the Sentinels to begin")
        self.wait_failover(before)

    def wait_failover(self, before: LocalValkey) -> LocalValkey:
        """Return once every Sentinel that runs names another primary than `before`: that one."""
        until(
            lambda: all(
                int(sentinel.call(*self._whom())[1]) != before.port
                for sentinel in self.sentinels
                if sentinel.running
            ),
            "the Sentinels to fail over",
        )
        return self.primary

    def revive(self, server: LocalValkey) -> None:
        """Start a killed server again, empty, behind the primary; as primary when it is still taken for that."""
        primary = self.primary
        server.settings.pop("replicaof", None)
        if primary is not server:
            server.settings["replicaof"] = f"127.0.0.1 {primary.port}"
        server.start()

    def mend(self) -> None:
        """Bring back what was killed or frozen; return once all is again as after `start`."""
        for process in (*self.sentinels, *self.servers):
            if process.running:
                process.thaw()
        for sentinel in self.sentinels:
            if not sentinel.running:
                sentinel.start()
        until(lambda: len({s.call(*self._whom())[1] for s in self.sentinels}) == 1, "the Sentinels to agree")
        for server in self.servers:
            if not server.running:
                self.revive(server)
            elif server is not self.primary:  # the Sentinels would see to it too, after ten seconds
                server.call("REPLICAOF", "127.0.0.1", self.primary.port)
        until(lambda: is_primary(self.primary) and all(map(follows, self.replicas)), "the replicas to follow")

    def close(self) -> None:
        """Kill everything, and remove temporary folders. May be called twice."""
        for process in (*self.sentinels, *self.servers):
            process.close()

    def _whom(self) -> tuple[str, str, str]:
        return "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name

    def _asked_sentinel(self) -> "_Sentinel":
        return next(sentinel for sentinel in self.sentinels if sentinel.running)

    def _agrees(self, sentinel: _Sentinel, verb: str) -> bool:
        answer = sentinel.call("SENTINEL", verb, self.name)
        return isinstance(answer, bytes) and answer.startswith(b"OK")
