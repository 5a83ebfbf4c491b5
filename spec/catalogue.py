"""The catalogue of codes, spec/codes.toml, as Python and as a document."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Catalogue = dict[str, Any]


def load(path: Path) -> Catalogue:
    """The catalogue: `ranges`, each with the close codes of WebSocket itself that mean the same, and `codes`."""
    return tomllib.loads(path.read_text("utf-8"))


def closes(span: dict[str, Any]) -> list[list[int]]:
    """The spans of WebSocket's own close codes that mean what a range means."""
    return [*span.get("websocket", [])]


def python(catalogue: Catalogue) -> str:
    """The module `posthouse.protocol.codes`."""
    return "".join(_python_lines(catalogue))


def _python_lines(catalogue: Catalogue) -> Iterator[str]:
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
        for low, high in [[span["from"], span["to"]], *closes(span)]:
            yield f"    ({low}, {high}, Action.{name.upper()}),\n"
    yield ")\n\n\nTEXTS: dict[int, str] = {\n"
    for item in catalogue["codes"].values():
        yield f'    {item["code"]}: "{item["text"]}",\n'
    yield "}\n\n\ndef action_of(code: int) -> Action:\n"
    yield '    """What a client does after `code`, known or not: codes outside every range mean `resume`."""\n'
    yield "    for low, high, action in _RANGES:\n        if low <= code <= high:\n            return action\n"
    yield "    return Action.RESUME\n"


def markdown(catalogue: Catalogue) -> str:
    """The document docs/codes.md."""
    return "".join(_markdown_lines(catalogue))


def _markdown_lines(catalogue: Catalogue) -> Iterator[str]:
    yield "# Codes\n\nGenerated from `spec/codes.toml` by `spec/generate.py`. The range of a code says what a client\n"
    yield "does next, also for codes that it does not know.\n"
    for name, span in catalogue["ranges"].items():
        yield f"\n## {span['from']} to {span['to']}: {name.replace('_', ' ')}\n\n{span['action']}\n"
        if closes(span):
            spans = " and ".join(f"{low} to {high}" for low, high in closes(span))
            yield f"WebSocket's own close codes {spans} mean the same.\n"
        yield "\n"
        yield "| code | name | meaning |\n|--:|---|---|\n"
        for code_name, item in catalogue["codes"].items():
            if span["from"] <= item["code"] <= span["to"]:
                yield f"| {item['code']} | `{code_name}` | {item['text']} |\n"
