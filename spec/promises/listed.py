"""What is promised and what keeps it: spec/guarantees.toml, every word of which must name something that is there."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from posthouse.testing.mutation.safeguards import SAFEGUARDS

TESTS = ("tests", "src/posthouse/testing/contracts")
_DEFINED = re.compile(r"^\s*(?:async )?def (test_\w+)\(", re.MULTILINE)


class Wrong(ValueError):
    """The list names what is not there, or leaves out what is."""


class Safeguard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`what` it is, against which `fault`, `where` in src/posthouse, and who notices when it is missing."""

    what: str
    fault: str = ""
    where: list[str] = []
    tests: list[str]
    without: list[str] = []
    """Tests that show what happens where it is missing."""
    mutants: list[str] = []
    """Its names in `posthouse.testing.mutation.safeguards`."""
    no_mutant: str = ""
    """Why nothing is taken out here."""


class Promise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of G1 to G7."""

    id: str
    title: str
    text: str
    safeguard: list[Safeguard]


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    promise: list[Promise]


def load(path: Path, root: Path) -> list[Promise]:
    """The promises of a list in the repository `root`. Raises `Wrong`."""
    try:
        promises = msgspec.toml.decode(path.read_bytes(), type=_Listed).promise
    except msgspec.DecodeError as error:
        raise Wrong(f"{path.name}: {error}") from None
    wrong = [*_unknown_tests(promises, root), *_unknown_places(promises, root), *wrong_mutants(promises)]
    if wrong:
        raise Wrong("\n".join(f"{path.name}: {each}" for each in wrong))
    return promises


def defined_tests(root: Path) -> set[str]:
    """The names of all tests in the repository `root`."""
    files = (path for place in TESTS for path in (root / place).rglob("*.py"))
    return {name for path in files for name in _DEFINED.findall(path.read_text("utf-8"))}


def _unknown_tests(promises: Sequence[Promise], root: Path) -> Iterator[str]:
    defined = defined_tests(root)
    for promise, safeguard in _all(promises):
        for name in (*safeguard.tests, *safeguard.without):
            if name not in defined:
                yield f"{promise.id}: there is no test {name}"


def _unknown_places(promises: Sequence[Promise], root: Path) -> Iterator[str]:
    package = root / "src/posthouse"
    for promise, safeguard in _all(promises):
        for place in safeguard.where:
            if not (package / place).is_dir() and not (package / f"{place}.py").is_file():
                yield f"{promise.id}: there is no src/posthouse/{place}"


def wrong_mutants(promises: Sequence[Promise]) -> Iterator[str]:
    """Each safeguard that is taken out by a patch must stand once, under the promise that it names.

    Each promise has at least one, and a row that has none says why.
    """
    owners = {each.name: each.promise for each in SAFEGUARDS}
    named = Counter(name for _, safeguard in _all(promises) for name in safeguard.mutants)
    for promise in promises:
        if not any(safeguard.mutants for safeguard in promise.safeguard):
            yield f"{promise.id}: none of its safeguards has a mutant"
    for promise, safeguard in _all(promises):
        if bool(safeguard.mutants) == bool(safeguard.no_mutant):
            yield f"{promise.id}: {safeguard.what!r} has neither mutants nor no_mutant, or both"
        for name in safeguard.mutants:
            if owners.get(name) != promise.id:
                yield f"{promise.id}: {name} is {owners.get(name, 'nowhere')} in testing/mutation/promises"
    for name in owners:
        if named[name] != 1:
            yield f"{name} of testing/mutation/promises is named {named[name]} times, and must be once"


def _all(promises: Sequence[Promise]) -> Iterator[tuple[Promise, Safeguard]]:
    return ((promise, safeguard) for promise in promises for safeguard in promise.safeguard)
