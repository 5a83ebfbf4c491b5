"""`posthouse up`: ready at once, says how to go on, stops cleanly."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from posthouse.app.lock import FolderLock
from posthouse.cli.failure import Exit
from posthouse.testing.ports import free_ports
from tests.cli.running import COMMAND, run


def up(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """A server that does not come up."""
    command = [*COMMAND, "up", "--log-level", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def served(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A server of the current folder; its first line has been read: it is ready."""
    command = [*COMMAND, "up", "--port", str(next(free_ports())), "--log-level", "error", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "Posthouse is ready\n"
            yield process
        finally:
            process.kill()


def test_it_says_where_it_listens_and_how_to_chat() -> None:
    with served("--data", "elsewhere") as process:
        assert process.stdout is not None
        screen = "".join(process.stdout.readline() for _ in range(7))
    address = Path("elsewhere/address").read_text().strip()
    assert f"address  {address}\n" in screen
    assert "python -m posthouse chat --as ann --with bob --data elsewhere\n" in screen


def test_its_keys_are_its_owners_alone() -> None:
    with served():
        assert Path("posthouse-data/secrets.json").stat().st_mode & 0o077 == 0


def test_commands_of_the_same_folder_need_to_be_told_nothing_but_the_user() -> None:
    with served() as process:
        assert run("send", "--as", "ann", "@bob", "hello").exit_code == Exit.OK
        assert "ann: hello" in run("history", "--as", "bob", "@ann").stdout
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_a_port_that_is_taken_is_told_with_another_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = up("--port", str(port))
    assert done.returncode == Exit.FAILED
    assert (
        done.stderr
        == f"Error: Port {port} of 127.0.0.1 is taken.\nChoose another, such as --port {port + 1}.\n"
    )
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "203.0.113.1"), "no address of this machine"),
        (("--database", "mysql://x"), "Error: --database must be text of the form: sqlite or postgresql://"),
        (("--config", "missing.toml"), "missing.toml: cannot be read"),
        (("--data", "file/folder"), "Not a directory"),
    ],
)
def test_what_keeps_it_from_starting_is_told(arguments: tuple[str, ...], said: str) -> None:
    Path("file").touch()
    done = up("--port", "0", *arguments)
    assert done.returncode == Exit.FAILED
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_in_use_is_told_by_its_own_name() -> None:
    lock = FolderLock(Path("d"))
    lock.acquire()
    done = up("--port", "0", "--data", "d")
    lock.release()
    assert done.returncode == Exit.FAILED
    assert done.stderr.startswith("Error: The data folder d is used by another server (process ")


@pytest.mark.parametrize("arguments", [("--port", "80808"), ("--prot", "1"), ("--log-level", "loud")])
def test_a_misspelt_command_is_a_matter_of_usage(arguments: tuple[str, ...]) -> None:
    assert run("up", *arguments).exit_code == Exit.USAGE
