"""Generates what follows from the specification: codes in Python and in the documents.

`python spec/generate.py` writes the files; `--check` only says whether they are current (exit 1 when not).
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def codes_python(catalogue: dict[str, Any]) -> str:
    """The module `posthouse.protocol.codes`."""
    return "".join(_python_lines(catalogue))


def _python_lines(catalogue: dict[str, Any]) -> Iterator[str]:
    yield '"""Generated from spec/codes.toml by spec/generate.py; do not edit. Pure."""\n\n'
    yield "from enum import IntEnum, StrEnum\n\n\nclass Action(StrEnum):\n"
    yield '    """What a client does next; the range of a code decides it."""\n\n'
    for name, span in catalogue["ranges"].items():
        yield f'    {name.upper()} = "{name}"\n    """{span["action"]}"""\n'
    yield '\n\nclass Code(IntEnum):\n    """Why a connection ended or a request was refused."""\n\n'
    for name, item in catalogue["codes"].items():
        yield f'    {name.upper()} = {item["code"]}\n    """{item["text"]}"""\n'
    yield "\n\n_RANGES: tuple[tuple[int, int, Action], ...] = (\n"
    for name, span in catalogue["ranges"].items():
        yield f"    ({span['from']}, {span['to']}, Action.{name.upper()}),\n"
    yield ")\n\n\nTEXTS: dict[int, str] = {\n"
    for item in catalogue["codes"].values():
        yield f'    {item["code"]}: "{item["text"]}",\n'
    yield "}\n\n\ndef action_of(code: int) -> Action:\n"
    yield '    """What a client does after `code`, known or not: codes outside every range mean `resume`."""\n'
    yield "    for low, high, action in _RANGES:\n        if low <= code <= high:\n            return action\n"
    yield "    return Action.RESUME\n"


def codes_markdown(catalogue: dict[str, Any]) -> str:
    """The document docs/codes.md."""
    return "".join(_markdown_lines(catalogue))


def _markdown_lines(catalogue: dict[str, Any]) -> Iterator[str]:
    yield "# Codes\n\nGenerated from `spec/codes.toml` by `spec/generate.py`. The range of a code says what a client\n"
    yield "does next, also for codes that it does not know.\n"
    for name, span in catalogue["ranges"].items():
        yield f"\n## {span['from']} to {span['to']}: {name.replace('_', ' ')}\n\n{span['action']}\n\n"
        yield "| code | name | meaning |\n|--:|---|---|\n"
        for code_name, item in catalogue["codes"].items():
            if span["from"] <= item["code"] <= span["to"]:
                yield f"| {item['code']} | `{code_name}` | {item['text']} |\n"


def outputs() -> dict[Path, str]:
    """Every generated file with its content."""
    catalogue = tomllib.loads((ROOT / "spec/codes.toml").read_text())
    return {
        ROOT / "src/posthouse/protocol/codes.py": codes_python(catalogue),
        ROOT / "docs/codes.md": codes_markdown(catalogue),
    }


def main(arguments: list[str]) -> int:
    """Write what differs, or with `--check` name it and fail."""
    stale = [path for path, text in outputs().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'stale' if '--check' in arguments else 'written'}: {path.relative_to(ROOT)}")
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(outputs()[path])
    if stale and "--check" in arguments:
        print("run `python spec/generate.py` and commit the result")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
