"""`posthouse chat`, as people at terminals see it, and with its input and output elsewhere."""

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthouse.cli.failure import Exit
from posthouse.testing.servers import LocalServer
from tests.cli.running import COMMAND, run
from tests.cli.typist import Typist

Opener = Callable[..., Typist]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """One server for all tests that do not kill it: each has users of its own."""
    with LocalServer() as server:
        yield server


@pytest.fixture
def mortal() -> Iterator[LocalServer]:
    """A server to be killed."""
    with LocalServer() as server:
        yield server


def beside(server: LocalServer) -> dict[str, str]:
    """What the environment says in the server's own folder."""
    return {"POSTHOUSE_DATA_FOLDER": str(server.data), "POSTHOUSE_ADDRESS": server.url}


def test_a_chat_is_not_for_programs(server: LocalServer) -> None:
    result = run("--json", "chat", "--as", "ann", "--with", "ben", "--data", str(server.data))
    assert result.exit_code == Exit.USAGE
    assert "A chat is for people" in result.stderr


@pytest.fixture
def chat(server: LocalServer, tmp_path: Path) -> Iterator[Opener]:
    """Opens chats, and ends them."""
    opened: list[Typist] = []

    def open_chat(*arguments: str, at: LocalServer = server, **environment: str) -> Typist:
        typist = Typist("chat", *arguments, folder=tmp_path, **beside(at), **environment)
        opened.append(typist)
        typist.sees("● ")
        return typist

    yield open_chat
    for typist in opened:
        typist.__exit__(None, None, None)


def test_two_people_talk_and_see_how_far_each_line_has_come(chat: Opener) -> None:
    ann, bob = chat("--as", "ann1", "--with", "bob1"), chat("--as", "bob1", "--with", "ann1")
    ann.type("Is the kettle on?\r")
    bob.sees("ann1: Is the kettle on?\n")
    ann.sees("ann1: Is the kettle on?  ✓✓ read\n")
    bob.type("Yes!\r")
    ann.sees("bob1: Yes!\n")
    bob.sees("bob1: Yes!  ✓✓ read\n")


def test_a_line_that_nobody_has_received_is_only_stored(chat: Opener) -> None:
    ann = chat("--as", "ann2", "--with", "bob2")
    ann.type("hello\r")
    ann.sees("ann2: hello  ✓")
    ann.type("\x04")
    assert ann.leaves() == Exit.OK
    assert ann.screen[-1].endswith("ann2: hello  ✓")


def test_what_comes_in_does_not_disturb_what_is_being_typed(chat: Opener) -> None:
    ann, bob = chat("--as", "ann3", "--with", "bob3"), chat("--as", "bob3", "--with", "ann3")
    ann.type("half a ")
    ann.sees("half a")
    bob.type("interruption\r")
    ann.sees("bob3: interruption\n")
    ann.sees("bob3: interruption\nann3> half a\n")
    ann.type("line\r")
    bob.sees("ann3: half a line\n")


def test_the_last_entries_are_shown_first_and_more_on_demand(chat: Opener, server: LocalServer) -> None:
    lines = "".join(f"m{n}.\n" for n in range(1, 31))
    run("send", "--as", "ann4", "@bob4", "--lines", typed=lines, **beside(server))
    bob = chat("--as", "bob4", "--with", "ann4")
    assert "m11." in bob.text
    assert "m10." not in bob.text
    bob.type("/history 3\r")
    bob.sees("and now")
    begun = next(number for number, row in enumerate(bob.screen) if row.startswith("· earlier: "))
    assert [row.rpartition(" ")[2] for row in bob.screen[begun + 1 : begun + 5]] == [
        "m8.",
        "m9.",
        "m10.",
        "now",
    ]


@pytest.mark.parametrize("way", ["\x03", "\x04", "/quit\r"])
def test_every_way_of_leaving_is_clean(chat: Opener, way: str) -> None:
    ann = chat("--as", "ann5", "--with", "bob5")
    ann.type(way)
    assert ann.leaves() == Exit.OK


def test_being_told_to_end_leaves_the_terminal_as_it_was(chat: Opener) -> None:
    ann = chat("--as", "ann5", "--with", "bob5")
    ann.process.send_signal(signal.SIGTERM)
    assert ann.leaves() == Exit.OK


@pytest.mark.timeout(120)
def test_what_is_typed_while_the_server_is_down_is_sent_in_order_when_it_is_back(
    chat: Opener, mortal: LocalServer
) -> None:
    ann, bob = (
        chat("--as", "ann", "--with", "bob", at=mortal),
        chat("--as", "bob", "--with", "ann", at=mortal),
    )
    mortal.kill()
    ann.sees("reconnecting…")
    ann.type("first\r")
    ann.sees("ann: first  …")
    ann.type("second\r")
    mortal.start()
    ann.sees("back")
    bob.sees("ann: first\n")
    bob.sees("ann: second\n")
    ann.sees("ann: second  ✓✓ read")


@pytest.mark.timeout(120)
def test_what_was_not_sent_is_kept_and_sent_by_the_next_chat(chat: Opener, mortal: LocalServer) -> None:
    ann = chat("--as", "ann", "--with", "bob", at=mortal)
    mortal.kill()
    ann.sees("reconnecting…")
    ann.type("for later\r")
    ann.sees("ann: for later  …")
    ann.type("\x04")
    assert ann.leaves() == Exit.UNREACHABLE
    assert "1 message could not be sent yet." in ann.text
    mortal.start()
    again = chat("--as", "ann", "--with", "carol", at=mortal)
    assert "1 message of last time is sent now." in again.text
    again.type("\x04")
    assert again.leaves() == Exit.OK
    assert "ann: for later" in run("history", "--as", "bob", "@ann", **beside(mortal)).stdout


def test_a_group_is_begun_and_others_see_it_beside_their_own_chat(chat: Opener) -> None:
    bob = chat("--as", "bob6", "--with", "carol6")
    ann = chat("--as", "ann6", "--new-group", "Tea", "--members", "bob6,carol6")
    ann.type("who is in?\r")
    bob.sees("unread: 1 in Tea")
    bob.type("/list\r")
    bob.sees("1  Tea      1 unread  ann6: who is in?")
    bob.type("/open 1\r")
    bob.sees("now in Tea")
    bob.sees("ann6 started the group “Tea” with bob6 and carol6\n")
    bob.sees("ann6: who is in?\n")
    bob.type("me\r")
    ann.sees("bob6: me\n")
    bob.type("/who\r")
    bob.sees("· bob6    member  you\n· carol6  member  3 behind\n")


def test_one_user_may_have_two_chats_open(chat: Opener) -> None:
    first, second = chat("--as", "ann7", "--with", "bob7"), chat("--as", "ann7", "--with", "bob7")
    first.type("from the first\r")
    second.sees("ann7: from the first  ✓")
    second.type("from the second\r")
    first.sees("ann7: from the second  ✓")


def test_commands_help_and_correct(chat: Opener) -> None:
    ann = chat("--as", "ann8", "--with", "bob8")
    ann.type("/help\r")
    ann.sees("/history [N]")
    ann.type("/hepl\r")
    ann.sees("did you mean /help?")
    ann.type("/open nowhere\r")
    ann.sees("there is no conversation nowhere")
    ann.type("//slash\r")
    ann.sees("ann8: /slash  ✓")


def test_a_mention_calls_a_member(chat: Opener, server: LocalServer) -> None:
    ann = chat("--as", "ann9", "--with", "bob9")
    ann.type("hello @bob9, and @nobody\r")
    ann.sees("✓")
    ann.type("\x04")
    ann.leaves()
    assert '"mentions":1' in run("conversations", "--as", "bob9", "--json", **beside(server)).stdout


def test_a_message_cannot_steer_the_terminal(chat: Opener, server: LocalServer) -> None:
    run("send", "--as", "eve10", "@bob10", "\x1b[2J\x1b]0;owned\x07", **beside(server))
    bob = chat("--as", "bob10", "--with", "eve10")
    assert "eve10: ␛[2J␛]0;owned␇" in bob.text
    assert b"\x1b]0;owned" not in bob.raw


COLOUR = re.compile(rb"\x1b\[[0-9;]*(3[1-7]|9[0-7])[0-9;]*m")


def test_colours_are_left_out_when_asked(chat: Opener) -> None:
    assert COLOUR.search(chat("--as", "ann11", "--with", "bob11").raw)
    assert not COLOUR.search(chat("--as", "ann11", "--with", "bob11", NO_COLOR="1").raw)


def piped(*arguments: str, typed: str, server: LocalServer) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": "", **beside(server)}
    command = [*COMMAND, "chat", *arguments]
    return subprocess.run(
        command, input=typed, capture_output=True, text=True, timeout=60, check=False, env=environment
    )


def test_without_a_terminal_lines_go_in_and_out_and_nothing_else(server: LocalServer) -> None:
    done = piped("--as", "ann12", "--with", "bob12", typed="one\n/who\ntwo\n", server=server)
    assert done.returncode == Exit.OK
    assert [line.partition(" ")[2] for line in done.stdout.splitlines()[1:]] == [
        "ann12 started the conversation with bob12",
        "ann12: one",
        "ann12: two",
    ]
    assert "bob12" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--group", "nothing"), Exit.FAILED, "not a member"),
        (("--with", " x"), Exit.USAGE, "white space"),
        ((), Exit.USAGE, "--with USER"),
        (("--with", "a", "--group", "b"), Exit.USAGE, "Give one of"),
        (("--with", "a", "--members", "b"), Exit.USAGE, "--new-group"),
    ],
)
def test_what_cannot_be_opened_is_told(
    arguments: tuple[str, ...], code: Exit, said: str, server: LocalServer
) -> None:
    result = run("chat", "--as", "ann13", *arguments, **beside(server))
    assert result.exit_code == code
    assert said in result.stderr
