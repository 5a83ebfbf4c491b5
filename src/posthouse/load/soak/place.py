"""Where a soak takes place: nodes in processes of their own that tell what they hold, alone or as a cluster."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from posthouse.app.secrets import FILE, load_or_create
from posthouse.load.bench.venue import RAISED
from posthouse.testing.postgres import LocalPostgres
from posthouse.testing.servers import LocalServer
from posthouse.testing.valkey import LocalValkey

NODES = 2
SOCKET = "census"
READERS = 3
"""Connections to PostgreSQL are opened when so many are needed at once, and stay. With the usual ten the last ones
would be opened at any time of the run, and look like something that grows."""


class WatchedServer(LocalServer):
    """A node that answers what it holds."""

    @property
    def census(self) -> Path:
        """Where it answers."""
        return self.folder / SOCKET

    def _command(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "posthouse.testing.census", self.census, "up"]


class Place(NamedTuple):
    """The nodes, and what clients need to know of them."""

    nodes: list[WatchedServer]
    folder: Path
    api_key: str

    @property
    def addresses(self) -> list[str]:
        """Of all nodes."""
        return [node.url for node in self.nodes]


@contextlib.contextmanager
def place(*, cluster: bool) -> Iterator[Place]:
    """One node on SQLite, or several on one PostgreSQL and one Valkey."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="posthouse-soak-")))
        secrets = load_or_create(folder)
        settings: dict[str, object] = dict(RAISED)
        database = "sqlite"
        if cluster:
            database = stack.enter_context(LocalPostgres()).create_database("soak")
            settings["database.connections_max"] = READERS
            settings["cache.url"] = stack.enter_context(LocalValkey()).url
        names = [f"n{number}" for number in range(1, (NODES if cluster else 1) + 1)]
        nodes = [stack.enter_context(_node(folder, name, database, settings)) for name in names]
        yield Place(nodes, folder, secrets.api_key)


def _node(folder: Path, name: str, database: str, settings: Mapping[str, object]) -> WatchedServer:
    node = WatchedServer(folder / name, database=database, settings={**settings, "node.name": name})
    node.data.mkdir(parents=True)
    shutil.copy(folder / FILE, node.data / FILE)
    return node
