"""A node that may open few files refuses what it cannot take, with a time to come back, and stays whole."""

import json
import socket
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from posthouse.testing.servers import LocalServer
from tests.gateway.peers import HOST, UPGRADE, head
from tests.service.site import PATIENCE_S

DESCRIPTORS_MAX = 80
FLOOD = 120


class CrampedServer(LocalServer):
    """One whose hard limit of open files is low, and its soft limit lower."""

    def _command(self) -> Sequence[str | Path]:
        limited = f'ulimit -Sn 40 && ulimit -Hn {DESCRIPTORS_MAX} && exec "$@"'
        return ["sh", "-c", limited, "sh", *super()._command()]


@pytest.fixture
def server() -> Iterator[CrampedServer]:
    with CrampedServer() as server:
        yield server


def test_a_flood_is_refused_with_a_time_to_come_back_and_counted(server: CrampedServer) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection((HOST, server.port))) for _ in range(FLOOD)]
        for peer in peers:
            peer.settimeout(PATIENCE_S)
            with suppress(ConnectionError):  # it has been refused already
                peer.sendall(head(UPGRADE))
        answers = [peer.recv(4096) for peer in peers]
    statuses = Counter(answer.split()[1] for answer in answers)
    assert statuses.keys() == {b"101", b"503"}
    assert all(b"Retry-After: " in answer for answer in answers if b" 503 " in answer)
    wait_healthy(server)
    assert counted(read(server, "/metrics"), "connections_refused") >= statuses[b"503"]
    written = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    clamped = [line for line in written if "limits.connections_max" in line["event"]]
    assert [line["open_files_max"] for line in clamped] == [DESCRIPTORS_MAX]
    assert clamped[0]["connections_max"] >= statuses[b"101"] > 0
    assert not [line for line in written if line["level"] == "error"]


def read(server: LocalServer, path: str) -> str:
    with urllib.request.urlopen(server.url + path, timeout=5) as answer:
        return str(answer.read().decode())


def wait_healthy(server: LocalServer) -> None:
    """Until it has let go of those who left."""
    while True:
        with suppress(OSError):
            read(server, "/healthz")
            return


def counted(metrics: str, event: str) -> float:
    line = next(line for line in metrics.splitlines() if f'event="{event}"' in line)
    return float(line.rpartition(" ")[2])
