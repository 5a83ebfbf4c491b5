"""deploy/valkey: servers and a sentinel of these files take writes, also after the primary has died."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from posthouse.testing.ports import free_ports
from posthouse.testing.process import LocalProcess
from posthouse.testing.valkey import LocalValkey, ask, find_binary, follows, is_primary, until

DEPLOY = Path(__file__).resolve().parents[2] / "deploy/valkey"
HOST = "localhost"
"""A name, as in the files, which all servers here have in common."""
PASSWORD = "PASSWORD"
"""As the files write it."""


class FromFile(LocalValkey):
    """A server that has its settings from a file."""

    def __init__(self, text: str) -> None:
        super().__init__(password=PASSWORD)
        self._file = self.folder / "valkey.conf"
        self._file.write_text(text.replace("port 6379", f"port {self.port}"))

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, self._file]


class Sentinel(LocalProcess):
    """A sentinel that has its settings from a file."""

    def __init__(self, text: str) -> None:
        super().__init__("sentinel", None)
        self.port = next(free_ports())
        self._file = self.folder / "sentinel.conf"
        self._file.write_text(text.replace("port 26379", f"port {self.port}"))

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    def call(self, *command: str) -> object:
        return ask(self.port, [("SENTINEL", *command, "posthouse")])[0]

    def _command(self) -> Sequence[str | Path]:
        return [find_binary(), self._file, "--sentinel"]

    def _is_ready(self) -> bool:
        try:
            return ask(self.port, [("PING",)])[0] in (b"PONG", "PONG")
        except OSError:
            return False

    def _working_folder(self) -> Path:
        return self.folder


class Cache(NamedTuple):
    primary: FromFile
    replica: FromFile
    sentinel: Sentinel


def here(name: str, *chosen: str) -> str:
    """A file for this machine, with the commented settings that are `chosen`."""
    text = (DEPLOY / name).read_text().replace("bind 0.0.0.0", "bind 127.0.0.1 -::1")
    for setting in chosen:
        text, found = re.subn(
            rf"^# ({setting} .*{PASSWORD}|{setting} \S+ \d+)$", r"\1", text, flags=re.MULTILINE
        )
        assert found == 1, f"{name} does not say how {setting} is set"
    return re.sub(r"\bcache-\d\b(?! 6379)", HOST, text)


@pytest.fixture
def cache() -> Iterator[Cache]:
    """Two of the servers, and a sentinel that need not agree with others."""
    with ExitStack() as stack:
        secrets = ("requirepass", "masterauth")
        primary = stack.enter_context(FromFile(here("valkey.conf", *secrets)))
        where = f"{HOST} {primary.port}"
        following = here("valkey.conf", *secrets, "replicaof").replace("cache-1 6379", where)
        replica = stack.enter_context(FromFile(following))
        until(lambda: follows(replica), "the replica to follow")
        watching = here("sentinel.conf", "sentinel auth-pass posthouse")
        sentinel = Sentinel(watching.replace("cache-1 6379 2", f"{where} 1"))
        yield Cache(primary, replica, stack.enter_context(sentinel))


def test_the_cache_takes_writes_also_after_its_primary_has_died(cache: Cache) -> None:
    primary, replica, sentinel = cache
    assert primary.call("SET", "before", "1") == b"OK"
    until(lambda: replica.call("GET", "before") == b"1", "the replica to have it")
    until(lambda: len(named(sentinel, "REPLICAS")) == 1, "the sentinel to know the replica")
    primary.kill()
    expected = [HOST.encode(), str(replica.port).encode()]
    until(lambda: sentinel.call("GET-MASTER-ADDR-BY-NAME") == expected, "the sentinel to name the replica")
    assert replica.call("SET", "after", "2") == b"OK"
    replica.restart()
    assert is_primary(replica), "a server notes in its file whom it follows"


def named(sentinel: Sentinel, what: str) -> list[object]:
    answer = sentinel.call(what)
    return answer if isinstance(answer, list) else []
