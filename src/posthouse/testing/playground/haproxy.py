"""HAProxy in front of the nodes, where it is installed."""

from collections.abc import Callable, Sequence
from pathlib import Path

from posthouse.kit.clock import Clock
from posthouse.testing.playground.part import Part, Port, listens, written


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


def plain_config(port: int, nodes: Sequence[tuple[str, int]]) -> str:
    """A configuration that spreads connections over `nodes`, given by name and port."""
    servers = "\n".join(
        f"    server {name} 127.0.0.1:{port} check inter 1s fastinter 500ms rise 2 fall 2"
        for name, port in nodes
    )
    return f"""\
global
    maxconn 4000
defaults
    mode http
    timeout connect 2s
    timeout client 75s
    timeout server 75s
    timeout tunnel 1h
    option redispatch
    retries 2
frontend clients
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance leastconn
    option httpchk GET /readyz
    default-server on-marked-down shutdown-sessions
{servers}
"""
