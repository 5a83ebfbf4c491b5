"""How a generator writes its files, or with `--check` only says which are not current."""

from collections.abc import Callable, Sequence
from pathlib import Path

Files = dict[Path, str]
Stages = Sequence[Callable[[], Files]]
"""In this order: what the first writes may be read by the second."""


def run(program: str, stages: Stages, root: Path, arguments: Sequence[str]) -> int:
    """Write what differs, or with `--check` name it and fail."""
    check = "--check" in arguments
    stale = [path for stage in stages for path in _settle(stage(), write=not check)]
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path.relative_to(root)}")
    if stale and check:
        print(f"run `python {program}` and commit the result")
    return int(bool(stale) and check)


def _settle(made: Files, *, write: bool) -> list[Path]:
    """The files that differ from what was made; written if so wished."""
    stale = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale if write else ():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], "utf-8")
    return stale
