"""`posthouse replay`: a small log on a real server, and what is said when the checks fail."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.cli.failure import Exit
from posthouse.load.replay import Replay
from posthouse.load.report import Report
from posthouse.testing.servers import LocalServer
from tests.cli.running import run

LOG = "".join(
    f'{{"at":"2004-11-15T12:0{minute}:00Z","kind":"{kind}","nick":"{nick}",{more}}}\n'
    for minute, kind, nick, more in (
        (0, "message", "|trey|", '"text":"hello"'),
        (1, "join", "[foo]^", '"text":""'),
        (2, "message", "[foo]^", '"text":"hi |trey|"'),
        (3, "rename", "[foo]^", '"to":"foo"'),
        (4, "message", "foo", '"text":"me again"'),
        (5, "leave", "foo", '"text":""'),
    )
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    with LocalServer() as server:
        monkeypatch.setenv("POSTHOUSE_DATA_FOLDER", str(server.data))
        monkeypatch.setenv("POSTHOUSE_ADDRESS", server.url)
        Path("log.jsonl").write_text(LOG)
        yield server


def test_a_log_is_played_and_checked_by_every_reader(server: LocalServer) -> None:
    result = run("replay", "log.jsonl", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == Exit.OK
    assert (report["messages"], report["acked"]) == (3, 3)
    assert (report["lost"], report["duplicated"], report["reordered"]) == (0, 0, 0)
    assert report["deliveries"] > 3
    assert report["messages_per_s"] > 0


def test_it_may_be_played_again_and_ends_with_what_was_checked(server: LocalServer) -> None:
    for _ in range(2):
        lines = run("replay", "log.jsonl").stdout.splitlines()
        assert lines[0].startswith("log.jsonl: 1 day, 3 messages by 3 clients in ")
        assert lines[1] == "  acknowledged  3 of 3"
        assert lines[3:] == ["  lost          0", "  duplicated    0", "  reordered     0"]


def test_one_message_by_one_client_is_told_as_such(server: LocalServer) -> None:
    Path("log.jsonl").write_text(LOG.splitlines()[0])
    assert run("replay", "log.jsonl").stdout.startswith("log.jsonl: 1 day, 1 message by 1 client in ")


def test_a_failed_check_has_an_exit_code_of_its_own(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(replay: Replay) -> Report:
        return Report(messages=3, acked=3, lost=1)

    monkeypatch.setattr(Replay, "run", broken)
    result = run("replay", "log.jsonl")
    assert result.exit_code == Exit.CHECKS_FAILED
    assert "  lost          1" in result.stdout


@pytest.mark.timeout(15)  # clients would ask for tokens for minutes
def test_a_key_that_the_server_refuses_is_told_at_once(server: LocalServer) -> None:
    result = run("replay", "log.jsonl", "--api-key", "ph_wrong")
    assert result.exit_code == Exit.UNAUTHORIZED
    assert "The server refused the API key" in result.stderr
    assert "--api-key" in result.stderr


@pytest.mark.parametrize(
    ("options", "days", "seconds_min"),
    [
        (("--days", "1"), 1, 0.0),
        (("--days", "2", "--concurrent-days", "1"), 2, 0.0),
        (("--days", "1", "--speed", "600"), 1, 0.5),
    ],
)
def test_a_part_of_a_log_is_played_and_as_fast_as_was_asked(
    server: LocalServer, options: tuple[str, ...], days: int, seconds_min: float
) -> None:
    """Five minutes of a day take half a second at 600 times real time."""
    Path("log.jsonl").write_text("".join(LOG.replace("11-15", f"11-{day}") for day in (15, 16, 17)))
    result = run("replay", "log.jsonl", "--json", *options)
    report = json.loads(result.stdout)
    assert result.exit_code == Exit.OK
    assert (report["days"], report["messages"], report["acked"]) == (days, 3 * days, 3 * days)
    assert report["seconds"] >= seconds_min


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("missing.jsonl",), Exit.USAGE, "does not exist"),
        (("bad.jsonl", "--api-key", "ph_x"), Exit.FAILED, "bad.jsonl cannot be played: line 1"),
        (("bad.gz", "--api-key", "ph_x"), Exit.FAILED, "bad.gz cannot be played"),
        (("log.jsonl",), Exit.UNAUTHORIZED, "no API key"),
        (
            ("log.jsonl", "--api-key", "ph_x", "--address", "http://127.0.0.1:1"),
            Exit.UNREACHABLE,
            "posthouse up",
        ),
        (("log.jsonl", "--api-key", "ph_x", "--ca", "bad.jsonl"), Exit.FAILED, "bad.jsonl"),
        (("log.jsonl", "--days", "0"), Exit.USAGE, "--days"),
        (("log.jsonl", "--speed", "0"), Exit.USAGE, "--speed"),
        (("log.jsonl", "--concurrent-days", "0"), Exit.USAGE, "--concurrent-days"),
    ],
)
def test_what_cannot_be_played_is_told(arguments: tuple[str, ...], code: Exit, said: str) -> None:
    Path("log.jsonl").write_text(LOG)
    Path("bad.jsonl").write_text("nonsense\n")
    Path("bad.gz").write_text("nonsense\n")
    result = run("replay", *arguments)
    assert result.exit_code == code
    assert said in result.stderr
