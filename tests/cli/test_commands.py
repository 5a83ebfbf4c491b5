"""`send`, `history`, `tail`, `conversations` beside a real server, as a shell would use them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from posthouse.cli.failure import Exit
from posthouse.testing.servers import LocalServer
from tests.cli.running import COMMAND, run

NOT_YOURS = (
    "Error: The user is not a member of this conversation, or it does not exist (4601).\n"
    "`posthouse conversations` lists yours; @USER names the direct one with a user.\n"
)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """One server for all tests of this file: each has users of its own."""
    with LocalServer() as server:
        yield server


@pytest.fixture(autouse=True)
def beside_the_server(server: LocalServer, empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_DATA_FOLDER", str(server.data))


def records(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def texts(result: Result) -> list[str]:
    return [record["body"]["text"] for record in records(result) if record["kind"] == "message"]


def test_what_is_sent_is_in_both_histories() -> None:
    first = run("send", "--as", "s1", "@s2", "Is the kettle on?")
    assert (first.exit_code, first.stderr) == (Exit.OK, "")
    assert first.stdout.startswith("stored as entry 2 of =")
    run("send", "--as", "s2", "@s1", "Yes!")
    for user, other in (("s1", "@s2"), ("s2", "@s1")):
        assert texts(run("history", "--as", user, other, "--json")) == ["Is the kettle on?", "Yes!"]
    lines = run("history", "--as", "s1", "@s2").stdout.splitlines()
    assert [line.split(" ", 3)[0] for line in lines] == ["1", "2", "3"]
    assert [line.split(" ", 3)[3] for line in lines] == [
        "* s1 started the conversation with s2",
        "s1: Is the kettle on?",
        "s2: Yes!",
    ]


def test_standard_input_is_one_message_or_one_a_line() -> None:
    run("send", "--as", "i1", "@i2", typed="one\ntwo\n")
    run("send", "--as", "i1", "@i2", "-", typed="three")
    run("send", "--as", "i1", "@i2", "--lines", typed="four\n\nfive\n")
    assert texts(run("history", "--as", "i2", "@i1", "--json")) == ["one\ntwo", "three", "four", "five"]


def test_a_body_of_ones_own_is_sent_as_it_is() -> None:
    run("send", "--as", "b1", "@b2", "--body", '{"sticker": 7}', "--kind", "x.sticker", "--mention", "b2")
    run("send", "--as", "b1", "@b2", "see above", "--reply-to", "2")
    sticker, answer = records(run("history", "--as", "b2", "@b1", "--after", "1", "--json"))
    assert (sticker["kind"], sticker["body"], sticker["mentions"]) == ("x.sticker", {"sticker": 7}, ["b2"])
    assert answer["reply_to"] == 2
    assert "b1: (to 2) see above" in run("history", "--as", "b1", "@b2").stdout


@pytest.mark.parametrize(
    "arguments",
    [("@u", ""), ("@u", "x", "--lines"), ("@u", "x", "--body", "{}"), ("@u", "--body", "[1]"), ("@", "x")],
)
def test_what_cannot_be_sent_is_a_matter_of_usage(arguments: tuple[str, ...]) -> None:
    assert run("send", "--as", "m1", *arguments).exit_code == Exit.USAGE


def test_history_goes_back_and_forward() -> None:
    run("send", "--as", "h1", "@h2", "--lines", typed="".join(f"m{n}\n" for n in range(1, 8)))

    def asked(*arguments: str) -> list[str]:
        return texts(run("history", "--as", "h1", "@h2", "--json", *arguments))

    assert asked("--limit", "2") == ["m6", "m7"]
    assert asked("--before", "5", "--limit", "2") == ["m2", "m3"]
    assert asked("--after", "5", "--limit", "2") == ["m5", "m6"]
    assert asked("--all") == [f"m{n}" for n in range(1, 8)]
    assert run("history", "--as", "h1", "@h2", "--before", "5", "--after", "1").exit_code == Exit.USAGE


def test_conversations_are_listed_with_what_is_unread() -> None:
    run("send", "--as", "l1", "@l2", "first")
    run("send", "--as", "l3", "@l2", "x" * 100)
    listed = records(run("conversations", "--as", "l2", "--json"))
    assert [(each["peer"], each["unread"]) for each in listed] == [("l3", 1), ("l1", 1)]
    header, newest, oldest = run("conversations", "--as", "l2").stdout.splitlines()
    assert header.split() == ["CONVERSATION", "KIND", "WITH", "UNREAD", "MENTIONS", "LAST"]
    assert newest.split()[1:5] == ["direct", "@l3", "1", "-"]
    assert newest.endswith("x…")
    assert oldest.endswith("l1: first")
    assert run("conversations", "--as", "nobody").stdout == ""


def test_a_strangers_conversation_is_not_told_from_none() -> None:
    run("send", "--as", "p1", "@p2", "secret")
    (listed,) = records(run("conversations", "--as", "p1", "--json"))
    outputs = [run("history", "--as", "p3", conv) for conv in (listed["conv"], "nothing")]
    assert {(result.exit_code, result.stderr) for result in outputs} == {(Exit.FAILED, NOT_YOURS)}


def test_tail_shows_the_last_entries_then_what_comes() -> None:
    run("send", "--as", "t1", "@t2", "before")
    command = [*COMMAND, "tail", "--as", "t2", "@t1", "--last", "1", "--count", "3", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["body"]["text"] == "before"
        run("send", "--as", "t1", "@t2", "one")
        assert json.loads(tail.stdout.readline())["body"]["text"] == "one"
        run("send", "--as", "t2", "@t1", "two")
        assert json.loads(tail.stdout.readline())["body"]["text"] == "two"
        assert tail.wait(10) == Exit.OK


def test_tail_of_all_names_the_conversation() -> None:
    command = [*COMMAND, "tail", "--as", "a2", "--count", "3"]
    run("send", "--as", "a1", "@a2", "before")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        while tail.poll() is None:  # until it listens, what is sent is not for it
            run("send", "--as", "a1", "@a2", "hello")
        lines = tail.stdout.read().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("@a1 ") and line.endswith(" a1: hello") for line in lines)


def test_nobody_listens() -> None:
    result = run("send", "--as", "x", "@y", "hi", "--address", "http://127.0.0.1:1")
    assert result.exit_code == Exit.UNREACHABLE
    assert result.stderr == (
        "Error: Nothing answers at http://127.0.0.1:1.\nStart it with `posthouse up`, or give --address.\n"
    )


def test_a_token_takes_the_place_of_the_data_folder(server: LocalServer, empty_folder: Path) -> None:
    token = run("token", "k1").stdout.strip()
    elsewhere = {"POSTHOUSE_TOKEN": token, "POSTHOUSE_ADDRESS": server.url}
    assert run("send", "@k2", "hi", "--data", str(empty_folder), **elsewhere).exit_code == Exit.OK
    result = run("send", "@k2", "hi", "--as", "k2", **elsewhere)
    assert (result.exit_code, "'k1'" in result.stderr) == (Exit.USAGE, True)


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "e30.eyJzdWIiOiAieCJ9.x"])
def test_a_bad_token_is_refused_with_its_own_code(token: str) -> None:
    result = run("send", "@y", "hi", "--token", token)
    assert result.exit_code == Exit.UNAUTHORIZED
    assert "posthouse token" in result.stderr


def test_without_a_user_it_says_so() -> None:
    result = run("conversations")
    assert result.exit_code == Exit.USAGE
    assert "--as USER" in result.stderr
