"""What is to be brought up, and what is told of it: the words that the playground's process and its users exchange."""

from pathlib import Path
from typing import Any

import msgspec

from posthouse.testing.playground.part import PartStatus

PLAN_FILE = "plan.json"
SOCKET_FILE = "control"
MEMBERS_OF_ETCD = 3
SENTINELS = 3


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A playground. `port`: of HAProxy, those above it are the nodes'; 0 takes free ones.

    `settings` are a node's configuration by dotted key. `proxied`: the fault proxy stands before every server.
    `workers`: each node is so many processes under a supervisor. `release`: the nodes run the code of this commit until
    they are upgraded. By name of a part: `clocks` are wrong by so many seconds, and `disks`, of databases' hosts, have
    so many MiB of their own, which end with the host's processes.
    """

    nodes: int = 3
    databases: int = 2
    replicas: int = 2
    caches: int = 3
    port: int = 0
    proxied: bool = False
    haproxy: bool = True
    settings: dict[str, Any] = {}
    workers: int = 0
    release: str = ""
    clocks: dict[str, float] = {}
    disks: dict[str, int] = {}


class ClusterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is `starting`, `up` or `failed`; `todo` says what to do about an `error`. Seconds are since the start."""

    state: str
    seconds: float
    address: str = ""
    folder: str = ""
    error: str = ""
    todo: str = ""
    proxied: bool = False
    pid: int = 0
    parts: tuple[PartStatus, ...] = ()


class Request(msgspec.Struct, frozen=True):
    """What a command asks of the running playground."""

    do: str
    what: str = ""
    how: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True):
    """What was done: `parts` by name, or why not."""

    parts: tuple[str, ...] = ()
    status: ClusterStatus | None = None
    numbers: dict[str, float] = {}
    error: str = ""
    todo: str = ""


class Refused(RuntimeError):
    """The playground cannot do what was asked; `todo` says what can be done."""

    def __init__(self, error: str, todo: str = "") -> None:
        super().__init__(error)
        self.todo = todo


def read_plan(folder: Path) -> Plan:
    """The plan that a playground's folder holds."""
    return msgspec.json.decode((folder / PLAN_FILE).read_bytes(), type=Plan)
