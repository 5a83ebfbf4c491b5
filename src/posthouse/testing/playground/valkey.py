"""Valkey of the playground: a primary with replicas, and the sentinels that decide who is primary."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hiredis

from posthouse.kit.clock import Clock
from posthouse.testing.playground.part import Part, Port, written

MASTER = "posthouse"
"""The name under which sentinels know the primary."""
DOWN_AFTER_MS = 1_500
FAILOVER_TIMEOUT_MS = 5_000
_ASK_TIMEOUT_S = 1.0
_AS_IN_DEPLOY = (
    "maxmemory-policy noeviction",
    "replica-read-only yes",
    "repl-diskless-sync yes",
    "repl-diskless-sync-delay 0",
    "repl-timeout 5",
    "repl-ping-replica-period 1",
    "min-replicas-to-write 0",
    "client-output-buffer-limit pubsub 64mb 16mb 10",
    "timeout 0",
    "tcp-keepalive 10",
)
"""What is measured here is what deploy/valkey has."""


class ValkeyServer(Part):
    """A server; `primary` is whom it follows at first, None when it is itself the first primary.

    Started again after it was killed, it must not come back as a second primary: it asks `primary_now`.
    """

    def __init__(self, name: str, folder: Path, port: Port, clock: Clock, *, program: Path) -> None:
        super().__init__(name, "cache", folder, port, clock)
        self.primary: Port | None = None
        self._program = program

    def command(self) -> Sequence[str | Path]:
        return self._program, self.folder / "valkey.conf"

    def prepare(self) -> None:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port.listen}",
            "daemonize no",
            "protected-mode no",
            "save ''",
            "appendonly no",
            "dir .",
            "replica-announce-ip 127.0.0.1",
            f"replica-announce-port {self.port.public}",
            "maxmemory 128mb",
            "loglevel notice",
            *_AS_IN_DEPLOY,
        ]
        if self.primary is not None:
            lines.append(f"replicaof 127.0.0.1 {self.primary.public}")
        written(self.folder / "valkey.conf", "\n".join(lines).replace("''", '""') + "\n")

    async def ready(self) -> bool:
        return await _ask(self.port.listen, "PING") is not None

    async def describe(self) -> tuple[str, bool, str]:
        told = await _ask(self.port.listen, "ROLE")
        if not told:
            return "", False, "does not answer"
        role = _text(told[0])
        if role == "master":
            return "primary", True, f"{len(told[2])} replicas"
        link = _text(told[3])
        return "replica", link == "connected", "" if link == "connected" else link


class Sentinel(Part):
    """One of those who agree that the primary is gone, and whom to make the next one."""

    def __init__(
        self, name: str, folder: Path, port: Port, clock: Clock, *, program: Path, primary: Port, quorum: int
    ) -> None:
        super().__init__(name, "sentinel", folder, port, clock)
        self._program = program
        self._primary = primary
        self._quorum = quorum

    def command(self) -> Sequence[str | Path]:
        return self._program, self.folder / "sentinel.conf", "--sentinel"

    def prepare(self) -> None:
        """Its file is its memory: it is written once."""
        path = self.folder / "sentinel.conf"
        if path.exists():
            return
        lines = [
            "bind 127.0.0.1",
            f"port {self.port.listen}",
            "daemonize no",
            "protected-mode no",
            "dir .",
            "sentinel announce-ip 127.0.0.1",
            f"sentinel announce-port {self.port.public}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self._primary.public} {self._quorum}",
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT_MS}",
            f"sentinel parallel-syncs {MASTER} 1",
        ]
        written(path, "\n".join(lines) + "\n")

    async def ready(self) -> bool:
        return await _ask(self.port.listen, "PING") is not None

    async def describe(self) -> tuple[str, bool, str]:
        told = await _ask(self.port.listen, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        if not told:
            return "", False, "does not answer"
        return "", True, f"primary is at port {_text(told[1])}"

    async def primary_port(self) -> int:
        """The public port of the primary that it believes in; 0 when it does not answer."""
        told = await _ask(self.port.listen, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(_text(told[1])) if told else 0


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def _ask(port: int, *command: str) -> Any:
    """The answer to one command, or None when there is none."""
    try:
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub says a tuple of one
                return await _answer(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None


async def _answer(reader: asyncio.StreamReader) -> Any:
    parser = hiredis.Reader()
    while data := await reader.read(65_536):
        parser.feed(data)
        answer = parser.gets()
        if answer is not False:
            return None if isinstance(answer, hiredis.ReplyError) else answer
    return None
