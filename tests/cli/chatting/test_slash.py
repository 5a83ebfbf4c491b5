"""What is typed: messages and commands."""

import pytest

from posthouse.cli.chatting.slash import COMMANDS, Command, Message, Mistake, help_lines, parse


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", None),
        ("   ", None),
        ("hello", Message("hello")),
        ("  code()", Message("  code()")),
        ("hello \n", Message("hello")),
        ("//etc", Message("/etc")),
        ("/list", Command("list")),
        ("/history 5", Command("history", "5")),
        ("/history", Command("history")),
        ("/open  bob ", Command("open", "bob")),
    ],
)
def test_what_is_typed_and_meant(typed: str, meant: object) -> None:
    assert parse(typed) == meant


def test_an_unknown_command_suggests_the_nearest() -> None:
    mistake = parse("/hist")
    assert isinstance(mistake, Mistake)
    assert "/history?" in mistake.text


def test_a_command_without_its_argument_says_what_it_wants() -> None:
    assert parse("/open") == Mistake(
        "write /open WHERE: go to another conversation: a number of /list, an id, or @USER"
    )


def test_help_names_every_command() -> None:
    text = "\n".join(help_lines())
    assert all(f"/{name}" in text for name in COMMANDS)
