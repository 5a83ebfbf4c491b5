"""`posthouse events` and `posthouse health` beside a real node."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from posthouse.api.operating import EventView
from posthouse.cli.events import line_of
from posthouse.cli.failure import Exit
from posthouse.testing.servers import LocalServer
from tests.cli.running import COMMAND, run


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer(settings={"node.name": "n1"}) as server:
        yield server


@pytest.fixture(autouse=True)
def beside_the_server(server: LocalServer, empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_DATA_FOLDER", str(server.data))


def test_what_happened_is_told_with_its_reason() -> None:
    records = [json.loads(line) for line in run("events", "--json").stdout.splitlines()]
    ready = [record for record in records if record["kind"] == "readiness"]
    assert [(record["subject"], record["why"]) for record in ready] == [
        ("n1", "ready: the database answers and commits")
    ]
    assert "readiness" in run("events", "--kind", "readiness").stdout
    assert run("events", "--kind", "drain", "--about", "n1").stdout == ""


def test_a_dry_run_says_would() -> None:
    event = EventView(
        at_ms=0,
        node="n1",
        incarnation=1,
        number=1,
        kind="remedy:drain",
        subject="n2",
        why="it is sick",
        dry_run=True,
    )
    assert click.unstyle(line_of(event)).endswith("would: n2: it is sick")


def test_those_that_come_are_followed(server: LocalServer) -> None:
    command = [*COMMAND, "events", "--follow", "--json", "--kind", "readiness"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        try:
            first = json.loads(following.stdout.readline())
            server.stop()
            server.start()
            second = json.loads(following.stdout.readline())
            assert (first["kind"], second["kind"]) == ("readiness", "readiness")
            assert second["incarnation"] > first["incarnation"]
        finally:
            following.kill()


def test_health_tells_each_part_and_ends_by_the_verdict(server: LocalServer) -> None:
    done = run("health")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (
        Exit.OK,
        "ready: the database answers and commits",
    )
    assert any(line.startswith("database main  ok") for line in done.stdout.splitlines())
    record = json.loads(run("health", "--json").stdout)
    assert {part["name"] for part in record["parts"]} >= {"database main", "loop"}
    assert run("health", "--address", "http://127.0.0.1:1").exit_code == Exit.UNREACHABLE
