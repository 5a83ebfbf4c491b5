"""A real Posthouse server in a process of its own, to be killed and started again on the same port with the same data.

Blocking on purpose, as `LocalPostgres` is; in a coroutine, use `asyncio.to_thread`. A server never outlives its owner.
"""

import http.client
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from posthouse.app.secrets import Secrets, load
from posthouse.testing.ports import free_ports
from posthouse.testing.process import START_TIMEOUT_S, STOP_TIMEOUT_S, LocalProcess, ServerFailed

__all__ = ["START_TIMEOUT_S", "STOP_TIMEOUT_S", "LocalServer", "ServerFailed"]


class LocalServer(LocalProcess):
    """`posthouse up` on loopback. As a context manager it is ready from entry on, and killed and wiped on exit.

    `folder` None makes a temporary one, removed at the end. `settings` are those of the configuration by dotted key,
    such as `{"limits.connections_max": 20_000}`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        database: str = "sqlite",
        settings: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__("server", folder)
        self.data = self.folder / "data"
        self.database = database
        self.settings = dict(settings or {})
        self.port = next(free_ports())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def secrets(self) -> Secrets:
        """The keys in its data folder, from the first start on."""
        return load(self.data)

    def _command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "posthouse", "up"]

    def _is_ready(self) -> bool:
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_TIMEOUT_S)
        try:
            asking.request("GET", "/readyz")
            return asking.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asking.close()

    def _environment(self) -> dict[str, str]:
        """The caller's, but for its own settings of a server."""
        own = {
            "listen.host": "127.0.0.1",
            "listen.port": self.port,
            "data.folder": self.data,
            "database.url": self.database,
            **self.settings,
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("POSTHOUSE_")}
        return others | {
            f"POSTHOUSE_{key.replace('.', '_').upper()}": str(value) for key, value in own.items()
        }
