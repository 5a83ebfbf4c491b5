"""A Posthouse node of the playground: `posthouse up` with a configuration that it shares with the others."""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import tomli_w

from posthouse.kit.clock import Clock
from posthouse.testing.playground.part import Part, Port, written
from posthouse.testing.playground.plan import Refused


class NodeServer(Part):
    """`settings` gives the whole configuration as tables, asked anew at each start."""

    def __init__(
        self,
        name: str,
        folder: Path,
        port: Port,
        agent_port: Port,
        clock: Clock,
        *,
        settings: Callable[["NodeServer"], Mapping[str, Any]],
        http: aiohttp.ClientSession,
        workers: int = 0,
        source: str = "",
    ) -> None:
        super().__init__(name, "node", folder, port, clock)
        self.source = source
        """The folder with the code that it runs; empty: that of this process."""
        self.agent_port = agent_port
        self._settings = settings
        self._http = http
        self._workers = ("--workers", str(workers)) if workers else ()

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://{self.port}"

    def command(self) -> Sequence[str | Path]:
        file = self.folder / "posthouse.toml"
        return sys.executable, "-m", "posthouse", "up", "--config", file, *self._workers

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": self.source} if self.source else {}

    def hang(self) -> psutil.Process:
        """SIGSTOP its last worker alone. Raises `Refused` where there are none."""
        supervisor = psutil.Process(self.pid) if self.pid else None
        workers = supervisor.children() if supervisor is not None and self._workers else []
        if not workers:
            raise Refused(f"{self.name} has no workers.")
        workers[-1].send_signal(signal.SIGSTOP)
        return workers[-1]

    def prepare(self) -> None:
        written(self.folder / "posthouse.toml", tomli_w.dumps(self._settings(self)))

    async def ready(self) -> bool:
        return (await self.readiness())[0]

    async def describe(self) -> tuple[str, bool, str]:
        healthy, detail = await self.readiness()
        return "", healthy, "" if healthy else detail

    async def readiness(self) -> tuple[bool, str]:
        """What it says of itself."""
        try:
            async with self._http.get(f"http://127.0.0.1:{self.port.listen}/readyz") as answer:
                return answer.status == 200, (await answer.text())[:200]
        except (aiohttp.ClientError, TimeoutError):
            return False, "does not answer"
