"""Which Posthouse was run: its version, and in a checkout the commit too, as a local version (PEP 440)."""

import subprocess
from pathlib import Path

import posthouse

REPOSITORY = Path(__file__).parents[3]
WRITTEN_BY_RUNS = ("docs/proof", "docs/guarantees.md")
"""Changes of these are what runs leave behind, and no other code."""


def described(repository: Path = REPOSITORY) -> str:
    """Such as `0.1.0+3c84f0d`, `0.1.0+3c84f0d.dirty` where files under git differ from it; elsewhere `0.1.0`."""
    commit = _git(repository, "rev-parse", "--short=7", "HEAD") if (repository / ".git").exists() else ""
    if not commit:
        return posthouse.__version__
    others = (f":!{path}" for path in WRITTEN_BY_RUNS)
    changed = _git(repository, "status", "--porcelain", "--untracked-files=no", "--", ".", *others)
    return f"{posthouse.__version__}+{commit}{'.dirty' if changed else ''}"


def _git(repository: Path, *arguments: str) -> str:
    """What git says; nothing where it fails or is not installed."""
    command = ("git", "--no-optional-locks", *arguments)
    try:
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
