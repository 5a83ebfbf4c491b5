"""Every rule of spec/protocol.md is cited by a test that shows it, or stands here with the reason why none can."""

import re
from collections.abc import Iterable, Iterator, Mapping

from tests.tidy.source import ROOT, repository_files

PROTOCOL = "spec/protocol.md"
THIS_FILE = "tests/tidy/test_rules_are_cited.py"
RULE = re.compile(r"^\*\*(P-\d+\.\d+)\*\* ", re.MULTILINE)
CITATION = re.compile(r"\bP-\d+\.\d+\b")

# Nothing that the code does could break these.
UNTESTED = {
    "P-1.1": "says how to read the words of the text",
    "P-1.2": "says what the words mean",
    "P-2.3": "is for whoever gives a client its address: no client knows who can read its network",
    "P-3.9": "allows both ways of reading a field that comes twice",
    "P-16.2": "is about documents that come after this one, and there is none yet",
}


def citations() -> dict[str, str]:
    """Each rule that a file under tests/ cites, with one such file; this one cites nothing."""
    cited: dict[str, str] = {}
    for path in repository_files():
        if path.parts[0] == "tests" and path.suffix == ".py" and str(path) != THIS_FILE:
            text = (ROOT / path).read_text("utf-8")
            cited |= dict.fromkeys(CITATION.findall(text), str(path))
    return cited


def complaints(rules: Iterable[str], cited: Mapping[str, str], untested: Mapping[str, str]) -> Iterator[str]:
    """What is wrong, a line each."""
    known = set(rules)
    for rule in sorted(known - cited.keys() - untested.keys()):
        yield f"{rule} is cited by no test: name it in the docstring of one that fails when it is broken"
    for rule in sorted(cited.keys() - known):
        yield f"{rule} is cited in {cited[rule]}, and {PROTOCOL} has no such rule"
    for rule in sorted(untested.keys() - known):
        yield f"{rule} is excused, and {PROTOCOL} has no such rule"
    for rule in sorted(cited.keys() & untested.keys()):
        yield f"{rule} is cited in {cited[rule]}: take it off the list of those that no test can show"


def test_every_rule_is_cited_by_a_test_or_excused() -> None:
    rules = RULE.findall((ROOT / PROTOCOL).read_text("utf-8"))
    assert len(rules) > 100, "the rules should have been found"
    found = list(complaints(rules, citations(), UNTESTED))
    assert not found, "\n" + "\n".join(found)


def test_each_way_of_going_wrong_is_found() -> None:
    rules, cited = ["A", "B", "C"], {"A": "test_a.py", "X": "test_x.py", "C": "test_c.py"}
    found = list(complaints(rules, cited, {"C": "a reason", "Y": "another"}))
    assert [line.split()[0] for line in found] == ["B", "X", "Y", "C"]
    assert not list(complaints(rules, {"A": "test_a.py"}, {"B": "a reason", "C": "another"}))
