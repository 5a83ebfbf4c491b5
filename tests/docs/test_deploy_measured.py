"""deploy/ has the settings that the playground has, where docs/guarantees.md measures what a failover takes."""

import importlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from posthouse.kit.clock import SystemClock
from posthouse.testing.playground.part import Port
from posthouse.testing.playground.patroni import LOOP_WAIT_S, Passwords, PatroniMember
from posthouse.testing.playground.valkey import Sentinel, ValkeyServer
from posthouse.testing.postgres import find_binaries

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PORT = Port(6379, 6379)
CLOCK = SystemClock()

OF_A_SMALL_MACHINE = {
    *(
        "max_connections",
        "shared_buffers",
        "max_wal_size",
        "min_wal_size",
        "wal_keep_size",
        "checkpoint_timeout",
    ),
    *("max_worker_processes", "max_parallel_workers", "max_slot_wal_keep_size", "jit"),
    *("unix_socket_directories", "dynamic_shared_memory_type"),
    *("timezone", "log_line_prefix", "log_checkpoints"),
}
"""Sizes, places and what the log says: nothing that decides how soon something is noticed or mended."""
OF_THE_PLACE = {"bind", "port", "dir", "daemonize", "protected-mode", "loglevel", "maxmemory", "replicaof"}
OF_THE_PLACE |= {"replica-announce-ip", "replica-announce-port"}
OF_THE_PLACE |= {"sentinel announce-ip", "sentinel announce-port", "sentinel monitor"}
OF_THE_PLACE |= {"sentinel resolve-hostnames", "sentinel announce-hostnames"}
"""Where a server of Valkey is and by what name: on one machine there are no names."""


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_patroni_is_shipped_as_it_is_measured(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    member = PatroniMember(
        *("database-a-1", "database-a", tmp_path, PORT, PORT, CLOCK),
        binaries=find_binaries(),
        passwords=Passwords("a", "b", "c"),
        etcd=(),
        http=http,
    )
    member.prepare()
    measured = msgspec.json.decode((tmp_path / "patroni.json").read_bytes())
    measured["bootstrap"]["dcs"]["loop_wait"] = LOOP_WAIT_S  # once it is up
    yaml: Any = importlib.import_module("yaml")
    shipped = yaml.safe_load((DEPLOY / "patroni/patroni.yaml").read_text())
    assert decisive(shipped) == decisive(measured)


def decisive(patroni: dict[str, Any]) -> dict[str, Any]:
    """What decides how long Patroni and PostgreSQL take."""
    dcs = dict(patroni["bootstrap"]["dcs"])
    postgresql = dcs.pop("postgresql")
    parameters = {
        name: value for name, value in postgresql.pop("parameters").items() if name not in OF_A_SMALL_MACHINE
    }
    return {**dcs, **postgresql, **parameters, "basebackup": patroni["postgresql"].get("basebackup")}


def test_valkey_is_shipped_as_it_is_measured(tmp_path: Path) -> None:
    ValkeyServer("cache-1", tmp_path, PORT, CLOCK, program=Path("valkey-server")).prepare()
    shipped, measured = DEPLOY / "valkey/valkey.conf", tmp_path / "valkey.conf"
    assert settings(shipped) == settings(measured)


def test_sentinel_is_shipped_as_it_is_measured(tmp_path: Path) -> None:
    program = Path("valkey-server")
    Sentinel("sentinel-1", tmp_path, PORT, CLOCK, program=program, primary=PORT, quorum=2).prepare()
    shipped, measured = DEPLOY / "valkey/sentinel.conf", tmp_path / "sentinel.conf"
    assert settings(shipped) == settings(measured)


def settings(file: Path) -> dict[str, str]:
    """By name, without those of the place. Sentinel's have a name of two words."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    named = dict(re.findall(r"^((?:sentinel )?\S+) (.*)$", "\n".join(lines), re.MULTILINE))
    return {name: value for name, value in named.items() if name not in OF_THE_PLACE}
