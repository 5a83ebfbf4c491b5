"""docs/cli.md says what the commands say."""

from pathlib import Path

import pytest

from posthouse.cli.failure import EXIT_TEXTS
from posthouse.cli.root import COMMANDS

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told_of(name: str) -> None:
    assert f"posthouse {name}" in TEXT


def test_every_exit_code_is_told_of_in_the_same_words() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert rows == [f"| {int(code)} | {meaning} |" for code, meaning in EXIT_TEXTS.items()]
