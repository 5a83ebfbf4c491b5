"""Generates what follows from the specification: codes, their document, JSON Schema, OpenAPI, golden vectors.

`python spec/generate.py` writes the files; `--check` only says whether they are current (exit 1 when not).
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # `spec` is found also when this file is run as a program

from spec.writing import Files, Stages, run  # noqa: E402  # found through the line above


def from_catalogue() -> Files:
    """What follows from the catalogue of codes."""
    from spec import catalogue

    codes = catalogue.load(ROOT / "spec/codes.toml")
    return {
        ROOT / "src/posthouse/protocol/codes.py": catalogue.python(codes),
        ROOT / "docs/codes.md": catalogue.markdown(codes),
    }


def from_code() -> Files:
    """What follows from the code, the generated part of it included."""
    from posthouse.api.web import openapi_json
    from spec import schema
    from spec.golden import VECTORS

    vectors = {ROOT / f"spec/vectors/{name}.json": _json(make()) for name, make in VECTORS.items()}
    return {
        ROOT / "spec/schema.json": _json(schema.document()),
        ROOT / "spec/openapi.json": _json(json.loads(openapi_json())),
    } | vectors


STAGES: Stages = (from_catalogue, from_code)
"""In this order: what the first writes is imported by the second."""


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write what differs, or with `--check` name it and fail."""
    return run("spec/generate.py", STAGES, ROOT, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
