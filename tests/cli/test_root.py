"""The command itself: finding commands, saying what is wrong, exit codes."""

import os
import subprocess
import sys

import click
import pytest

from posthouse import __version__
from posthouse.cli.failure import EXIT_TEXTS, Exit, Failure
from posthouse.cli.root import COMMANDS, root
from posthouse.client.errors import NotConnected
from tests.cli.running import run


def test_help_names_every_command_and_every_exit_code() -> None:
    text = run("--help").stdout
    assert [name for name in COMMANDS if f"\n  {name} " not in text] == []
    assert all(f"{int(code)} " in text for code in EXIT_TEXTS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: posthouse {name}")


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"posthouse {__version__}\n"


def test_an_unknown_command_suggests_the_nearest() -> None:
    result = run("tial")
    assert result.exit_code == Exit.USAGE
    assert "Did you mean 'tail'?" in result.stderr


def test_an_unknown_option_suggests_the_nearest() -> None:
    result = run("token", "ann", "--tl", "5")
    assert result.exit_code == Exit.USAGE
    assert "--ttl" in result.stderr


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `posthouse token USER` raise `error`."""

    @click.command
    @click.argument("user")
    def token(user: str) -> None:
        raise error

    monkeypatch.setattr("posthouse.cli.token.token", token)


def test_a_failure_says_what_happened_then_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Failure("It broke.", "Mend it.", Exit.UNREACHABLE))
    result = run("token", "ann")
    assert (result.exit_code, result.stdout) == (Exit.UNREACHABLE, "")
    assert result.stderr == "Error: It broke.\nMend it.\n"


def test_a_failure_is_one_json_object_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, Failure("It broke.", "Mend it."))
    result = run("--json", "token", "ann")
    assert result.stderr == '{"error":"It broke.","todo":"Mend it.","exit":1}\n'


def test_an_error_of_the_sdk_gets_words_and_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, NotConnected("no session within 5 s: refused"))
    result = run("token", "ann")
    assert result.exit_code == Exit.UNREACHABLE
    assert result.stderr.startswith("Error: No session within 5 s: refused.\nCheck the address")


def test_an_interrupt_has_the_code_that_shells_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert run("token", "ann").exit_code == Exit.INTERRUPTED


def test_a_fault_of_ours_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run("token", "ann")


def test_a_reader_that_leaves_early_is_no_failure() -> None:
    """As in `posthouse config init - | head -1`, with a `head` that is faster than we are."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "posthouse", "config", "init", "-"]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_server_command_imports_neither_rich_nor_prompt_toolkit() -> None:
    """Ready within a second: what is heavy is imported where it is used."""
    code = "import sys, posthouse.cli.root as r; r.root.get_command(None, 'up'); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"rich", "prompt_toolkit", "aiohttp", "asyncpg", "cryptography"})
    assert root.name == "root"
