"""The release before this one, out of the history, for tests of upgrades."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
MIGRATIONS = Path("src/posthouse/storage/engines/postgres/migrations")
TOLD = ("src/posthouse/messaging/notes.py", "src/posthouse/cluster/snapshot.py")
"""What nodes say to each other over cache and bus."""


class NoHistory(RuntimeError):
    """This copy of the project has no history that holds the release; the message says why."""


def commit_before(migration: int) -> str:
    """The commit just before migration number `migration` (1 is the first, -1 the newest) came. Raises `NoHistory`."""
    files = sorted(path.name for path in (REPOSITORY / MIGRATIONS).glob("*.sql"))
    file = files[migration if migration < 0 else migration - 1]
    added = _git("log", "--diff-filter=A", "--format=%H", "--", str(MIGRATIONS / file)).split()[-1].decode()
    return _git("rev-parse", f"{added}^").decode().strip()


def commit_before_words() -> str:
    """The commit just before the newest change of what nodes say to each other. Raises `NoHistory`."""
    changed = _git("log", "-1", "--format=%H", "--", *TOLD).decode().strip()
    return _git("rev-parse", f"{changed}^").decode().strip()


def unpack(commit: str, folder: Path) -> Path:
    """The source as it was then, in `folder`, to be put on Python's path. Raises `NoHistory`."""
    with tarfile.open(fileobj=BytesIO(_git("archive", commit, "src"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(("git", *arguments), cwd=REPOSITORY, capture_output=True, check=False)
    except FileNotFoundError:
        raise NoHistory("git is not installed, so the release before cannot be had") from None
    if done.returncode or not done.stdout:
        told = done.stderr.decode(errors="replace").strip()
        raise NoHistory(f"this copy has no history that holds the release before: {told}".rstrip(": "))
    return done.stdout
