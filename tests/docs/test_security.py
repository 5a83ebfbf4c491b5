"""docs/security.md names tests that exist, and all of those that try to break in."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/security.md"
DEFINED = re.compile(r"^\s*(?:async )?def (test_\w+)\(", re.MULTILINE)


def defined_in(*places: str) -> set[str]:
    return {
        name
        for place in places
        for path in (ROOT / place).rglob("test_*.py")
        for name in DEFINED.findall(path.read_text())
    }


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    assert named
    assert named <= defined_in("tests"), f"not there: {sorted(named - defined_in('tests'))}"


def test_every_test_of_security_is_named_on_the_page() -> None:
    """What is tried there and told nowhere would be forgotten first."""
    untold = defined_in("tests/security") - set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    assert not untold, f"name them in docs/security.md: {sorted(untold)}"
