"""The README's example is a program that works."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from posthouse.app.lock import FILE as LOCK, FolderLock
from posthouse.cli.up import DEFAULT_FOLDER
from tests.docs.examples import first_example, node_of_ann

ROOT = Path(__file__).resolve().parents[2]


def example() -> str:
    return first_example((ROOT / "README.md").read_text())


async def test_the_example_runs_as_it_is_written_but_for_address_and_token(tmp_path: Path) -> None:
    async with node_of_ann(tmp_path) as (address, token):
        program = example().replace("http://127.0.0.1:8080", address)
        assert 'token="..."' in program
        program = program.replace('token="..."', f"token={token!r}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            lines = [(await process.stdout.readline()).decode() for _ in range(2)]
        process.kill()
        await process.communicate()
    assert re.fullmatch(r"stored as entry \d+\n", lines[0]), lines
    assert lines[1] == "ann: Is the kettle on?\n", lines


def test_the_example_has_ten_lines_and_stands_before_what_is_broken() -> None:
    assert len([line for line in example().splitlines() if line]) <= 10
    headings = re.findall(r"^## (.*)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Run it", "Build on it"]


def test_the_process_to_kill_is_named_in_the_data_folder(tmp_path: Path) -> None:
    assert f'"$(cat {DEFAULT_FOLDER}/{LOCK})"' in (ROOT / "README.md").read_text()
    lock = FolderLock(tmp_path)
    lock.acquire()
    assert (tmp_path / LOCK).read_text() == str(os.getpid())
    lock.release()


@pytest.mark.parametrize("command", ["make up", "make test"])
def test_the_commands_that_the_readme_begins_with_are_in_the_makefile(command: str) -> None:
    assert command in (ROOT / "README.md").read_text()
    assert re.search(rf"^{command.removeprefix('make ')}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
