"""docs/guarantees.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFINED = re.compile(r"^\s*(?:async )?def (test_\w+)\(", re.MULTILINE)
PLACES = ("tests", "src/posthouse/testing/contracts")


def test_every_test_that_the_guarantees_name_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/guarantees.md").read_text()))
    files = [path for place in PLACES for path in (ROOT / place).rglob("*.py")]
    defined = {name for path in files for name in DEFINED.findall(path.read_text())}
    assert named
    assert named <= defined, f"not there: {sorted(named - defined)}"
