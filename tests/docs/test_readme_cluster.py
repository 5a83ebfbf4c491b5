"""The README's second section does what it says: bring a cluster up, chat, kill things, and the chat goes on."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.serial, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
LINES_EACH = 5


def commands() -> list[list[str]]:
    """What the section tells its reader to type, as this Python's `posthouse`."""
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Break it") : text.index("## Test it")]
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()
    ]
    assert all(line.startswith(".venv/bin/posthouse ") for line in lines), lines
    return [[sys.executable, "-m", "posthouse", *line.split()[1:]] for line in lines]


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a cluster is up, brought up as the section says but on free ports."""
    up = next(command for command in commands() if "up" in command)
    with subprocess.Popen(
        [*up, "--port", "0", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            up_line = process.stdout.readline()
            assert json.loads(up_line)["state"] == "up"
            yield tmp_path
        finally:
            process.terminate()
    assert not (tmp_path / "posthouse-cluster").exists()


def test_the_chat_goes_on(folder: Path) -> None:
    chats = {
        command[command.index("--as") + 1]: subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands()
        if "chat" in command
    }
    kills = [command for command in commands() if "kill" in command]
    assert [" ".join(command[5:]) for command in kills] == ["node-1", "cache primary", "database-a primary"]
    said: dict[str, list[str]] = {who: [] for who in chats}
    for number, kill in enumerate([*kills, []]):
        for who, chat in chats.items():
            assert chat.stdin is not None
            for line in range(LINES_EACH):
                said[who].append(f"{who} {number} {line}")
                chat.stdin.write(said[who][-1] + "\n")
            chat.stdin.flush()
        if kill:
            run(kill, folder)
    run(next(command for command in commands() if "status" in command), folder)
    for chat in chats.values():  # without a terminal, a chat ends when all that it was told is stored
        assert chat.stdin is not None
        chat.stdin.close()
        assert chat.wait(120) == 0
        if chat.stderr is not None:
            chat.stderr.close()
    history = run(
        [
            sys.executable,
            "-m",
            "posthouse",
            "history",
            "--as",
            "ann",
            "@ben",
            "--data",
            "posthouse-cluster",
            "--json",
        ],
        folder,
    )
    entries = [json.loads(line) for line in history.splitlines()]
    for who, lines in said.items():
        assert [
            each["body"]["text"]
            for each in entries
            if each.get("sender") == who and each["kind"] == "message"
        ] == lines
