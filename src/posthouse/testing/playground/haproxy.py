"""HAProxy in front of the nodes, where it is installed."""

import resource
from collections.abc import Callable, Sequence
from pathlib import Path

from posthouse.cluster.haproxy import HaproxyPlan, Server, render
from posthouse.kit.clock import Clock
from posthouse.testing.playground.part import Part, Port, listens, written

FILES_SPARE = 1_200
CONNECTIONS_MAX = 15_000


class Haproxy(Part):
    """`render` gives its configuration, asked anew at each start."""

    def __init__(
        self, folder: Path, port: Port, clock: Clock, *, program: Path, render: Callable[[], str]
    ) -> None:
        super().__init__("haproxy", "haproxy", folder, port, clock)
        self._program = program
        self._render = render

    def command(self) -> Sequence[str | Path]:
        return self._program, "-db", "-f", self.folder / "haproxy.cfg"

    def prepare(self) -> None:
        written(self.folder / "haproxy.cfg", self._render())

    async def ready(self) -> bool:
        return await listens(self.port.listen)


def configuration(port: int, servers: Sequence[Server]) -> str:
    """What `posthouse haproxy config` renders for these nodes, with as many connections as this machine allows."""
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    each = (files_max // 2 - FILES_SPARE) // max(1, len(servers))
    plan = HaproxyPlan(
        servers=tuple(servers),
        bind=f"127.0.0.1:{port}",
        stats_socket="unix@stats.sock",  # beside the file: a path may have 97 bytes only
        server_maxconn=max(100, min(each, CONNECTIONS_MAX)),
    )
    return render(plan)
