"""What every file of the repository keeps, whatever its language, and what the README promises of its commands."""

import re

import pytest

from tests.tidy.source import ROOT, repository_files

# Written in two halves, so that this file does not name what it looks for.
MACHINE_PATHS = tuple(f"/{folder}/" for folder in ("wor" + "k", "roo" + "t", "home/[a-z]", "Users/[A-Za-z]"))
REGISTRY_HOSTS = (
    r"pypi\." + "org",
    r"python" + r"hosted\.org",
    r"registry\." + r"npmjs\.",
    r"crates\." + "io",
    r"proxy\." + r"golang\.",
    r"repo1?\." + r"maven\.",
    r"deb\." + r"debian\.",
    r"index-" + "url",
)
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.}])(" + "|".join(MACHINE_PATHS) + ")"),
    "a package registry's host": re.compile("|".join(REGISTRY_HOSTS), re.IGNORECASE),
}


def named_in(text: str, what: re.Pattern[str]) -> list[tuple[int, str]]:
    """Line number and match of each place where `text` names what it must not."""
    return [
        (number, match[0])
        for number, line in enumerate(text.splitlines(), 1)
        for match in what.finditer(line)
    ]


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_no_file_names(kind: str) -> None:
    named = [
        f"{path}:{number}: {match}"
        for path in repository_files()
        for number, match in named_in((ROOT / path).read_text("utf-8", errors="replace"), FORBIDDEN[kind])
    ]
    assert not named, f"\n{kind} means nothing to the next reader's machine:\n" + "\n".join(named)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("a path of one machine", "cd /wor" + "k/main"),
        ("a path of one machine", 'open("/roo' + 't/.cache")'),
        ("a package registry's host", "https://files.python" + "hosted.org/x"),
        ("a package registry's host", "--index-" + "url=http://mirror"),
    ],
)
def test_a_file_that_names_one_is_found(kind: str, text: str) -> None:
    assert named_in(f"first line\n{text}\n", FORBIDDEN[kind])[0][0] == 2


def test_relative_folders_of_the_same_name_are_fine() -> None:
    assert not named_in("src/wor" + "k/x and ${HOME}/roo" + "t/x", FORBIDDEN["a path of one machine"])


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert re.search(r"^make test$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)


def test_every_command_of_the_makefile_explains_itself() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.findall(r"^\.PHONY:(.*)", makefile, re.MULTILINE)
    commands = {name for line in phony for name in line.split()}
    explained = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert commands == explained
