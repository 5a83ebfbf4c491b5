"""What a client does after a code: all that there are, and some that there are not."""

from pathlib import Path

from spec import catalogue
from spec.golden.notation import Vector

CATALOGUE = Path(__file__).resolve().parents[1] / "codes.toml"
OUTSIDE = [0, 1000, 1001, 1004, 1006, 1011, 1012, 1013, 3000, 3999, 4400, 4499, 4800, 4999, 5000]
"""Codes in no range, some of them WebSocket's own: the connection is gone, and nothing is said against returning."""


def document() -> Vector:
    """The file codes.json."""
    codes = catalogue.load(CATALOGUE)
    names = {item["code"]: name for name, item in codes["codes"].items()}
    actions = {code: name for name, span in codes["ranges"].items() for code in _examples(span, names)}
    actions |= dict.fromkeys(OUTSIDE, "resume")
    return {
        "about": "What a client does after each code. Those without a name are acted on by their range alone (P-13.2).",
        "codes": [
            {"code": code, "name": names.get(code, ""), "action": actions[code]} for code in sorted(actions)
        ],
    }


def _examples(span: dict[str, int], names: dict[int, str]) -> set[int]:
    """The codes of a range that have a name, its ends, and the close codes that mean the same."""
    known = {code for code in names if span["from"] <= code <= span["to"]}
    closes = {code for low, high in catalogue.closes(span) for code in range(low, high + 1)}
    return known | {span["from"], span["to"]} | closes
