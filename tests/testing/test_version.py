"""What was run is told with its commit, in a checkout."""

import subprocess
from pathlib import Path

import pytest

from posthouse import __version__
from posthouse.testing.version import described


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a module and a record of an earlier run."""
    (tmp_path / "docs/proof").mkdir(parents=True)
    for name in ("module.py", "docs/proof/sim.json", "docs/guarantees.md"):
        (tmp_path / name).write_text("before\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "Begin")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ("git", *arguments), cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_in_a_checkout_the_commit_is_named(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")[:7]
    assert described(checkout) == f"{__version__}+{commit}"
    (checkout / "notes.txt").write_text("not under git\n")
    assert described(checkout) == f"{__version__}+{commit}"


def test_files_that_differ_from_the_commit_are_told_but_for_what_runs_write(checkout: Path) -> None:
    commit = described(checkout)
    for name in ("docs/proof/sim.json", "docs/guarantees.md"):
        (checkout / name).write_text("after\n")
    assert described(checkout) == commit
    (checkout / "module.py").write_text("after\n")
    assert described(checkout) == f"{commit}.dirty"


def test_elsewhere_there_is_no_commit(tmp_path: Path, checkout: Path) -> None:
    inside = checkout / "installed"
    inside.mkdir()
    assert described(inside) == __version__
    assert described(tmp_path / "nowhere") == __version__
