"""Generates docs/guarantees.md from what is promised (spec/guarantees.toml) and what was measured (docs/proof).

`python spec/guarantees.py` writes the page; `--check` only says whether it is current (exit 1 when not).
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `spec` is found also when this file is run as a program

from spec.writing import Files, Stages, run  # noqa: E402  # found through the line above


def from_records() -> Files:
    """The page."""
    from spec.promises import listed, page, recorded

    promises = listed.load(ROOT / "spec/guarantees.toml", ROOT)
    return {ROOT / "docs/guarantees.md": page.markdown(promises, recorded.load(ROOT / "docs/proof"))}


STAGES: Stages = (from_records,)


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` say whether it is current. What is malformed is told in one sentence."""
    try:
        return run("spec/guarantees.py", STAGES, ROOT, arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
