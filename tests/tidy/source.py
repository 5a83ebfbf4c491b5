"""What the tidy rules look at: one parsed Python file, and the files of this repository.

Paths are relative to the repository and written with `/`, so rules and messages read the same everywhere.
"""

import ast
import io
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = PurePosixPath("src/posthouse")
PYTHON_FOLDERS = ("src", "tests", "bench", "fuzz", "spec")

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Source:
    """One Python file: its path in the repository and its text."""

    path: PurePosixPath
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @property
    def in_package(self) -> bool:
        return self.path.is_relative_to(PACKAGE)

    @property
    def place(self) -> PurePosixPath:
        """The path inside the package, `kit/clock.py`; only meaningful where `in_package`."""
        return self.path.relative_to(PACKAGE)

    def comments(self) -> Iterator[tuple[int, str]]:
        """Each comment with its line number."""
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Each function with its qualified name: `Session.send`, `connect.retry`."""
        yield from _functions(self.tree, "")

    @cached_property
    def imported(self) -> dict[str, str]:
        """Local name → what it stands for: `{"sleep": "asyncio.sleep", "dt": "datetime"}`."""
        return dict(_imported(self.nodes))

    def imports(self) -> Iterator[tuple[int, str]]:
        """The dotted name of each module imported anywhere in the file, with its line number."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.lineno, node.module


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTION):
            yield prefix + child.name, child
        inner = f"{prefix}{child.name}." if isinstance(child, (*FUNCTION, ast.ClassDef)) else prefix
        yield from _functions(child, inner)


def _imported(nodes: tuple[ast.AST, ...]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def repository_files() -> list[PurePosixPath]:
    """Every file that is tracked, or would be if it were added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(PurePosixPath(name) for name in listed.split("\0") if name and (ROOT / name).is_file())


def python_sources() -> list[Source]:
    """The repository's Python files."""
    paths = (path for folder in PYTHON_FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return [Source(PurePosixPath(path.relative_to(ROOT)), path.read_text("utf-8")) for path in sorted(paths)]
