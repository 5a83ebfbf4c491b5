"""What the source must be like for the rest to hold: no package can be exchanged, secrets are compared with care."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "deploy/requirements.lock", "deploy/build.lock")
HASHES = r"((?:\\\n    --hash=sha256:[0-9a-f]{64} ?)*)"
REQUIREMENT = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)[^\\\n]*" + HASHES + "$", re.MULTILINE)
SECRET_WORDS = {"digest", "known", "mac", "secret", "signature", "api_key", "key_hash"}
"""Names that hold a secret, or what proves one, in the modules that see them."""
KEEPERS = ("auth/keys.py", "auth/operators.py", "auth/resume.py", "auth/tokens.py", "api/credentials.py")


def locked(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Each package of a lock with its version and hashes."""
    text = (ROOT / name).read_text()
    found = {
        package: (version, frozenset(re.findall(r"sha256:\w+", hashes)))
        for package, version, hashes in REQUIREMENT.findall(text)
    }
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert len(found) == len(lines), "each line names one package, one version, and hashes"
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_dependency_has_one_version_and_hashes(name: str) -> None:
    for package, (_, hashes) in locked(name).items():
        assert hashes, f"{package} has no hash: make lock"


@pytest.mark.parametrize("name", LOCKS[1:])
def test_a_container_runs_with_the_very_packages_that_were_tested(name: str) -> None:
    tested = locked(LOCKS[0])
    stale = {package for package, pinned in locked(name).items() if tested.get(package) != pinned}
    assert not stale, f"{stale}: write {name} anew with the command in its head"


def test_a_container_is_built_with_the_backend_that_is_locked() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pinned = {f"{package}=={version}" for package, (version, _) in locked("deploy/build.lock").items()}
    assert set(required) <= pinned


def test_a_container_is_built_from_nothing_that_has_no_hash() -> None:
    """pip fetches by hash, or fetches nothing: building in isolation would fetch the backend by its version alone."""
    text = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", " ")
    steps = re.findall(r"/pip (?:install|wheel) [^&\n]*", text)
    assert steps
    for step in steps:
        local = "--no-deps" in step and ("--no-build-isolation" in step or "--no-index" in step)
        assert "--require-hashes" in step or local, step


def test_packages_are_installed_with_their_hashes_only() -> None:
    for file in ("Makefile", "deploy/Dockerfile"):
        text = (ROOT / file).read_text()
        assert "--require-hashes" in text, file


def careless(tree: ast.AST) -> list[int]:
    """Lines on which something secret is compared by an operator, which stops at the first difference."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and {_word(operand) for operand in (node.left, *node.comparators)} & SECRET_WORDS
    ]


def _word(operand: ast.expr) -> str:
    """What an operand is called."""
    named = getattr(operand, "id", "") or getattr(operand, "attr", "")
    return str(named).lstrip("_")


@pytest.mark.parametrize("name", KEEPERS)
def test_secrets_are_compared_in_constant_time(name: str) -> None:
    """`hmac.compare_digest`, so that how long a refusal takes tells nothing of how near a guess was."""
    source = (ROOT / "src/posthouse" / name).read_text()
    assert not careless(ast.parse(source))


def test_a_careless_comparison_is_found() -> None:
    assert careless(ast.parse("if mac == self._mac(payload): pass")) == [1]
    assert not careless(ast.parse("if hmac.compare_digest(mac, self._mac(payload)): pass"))
