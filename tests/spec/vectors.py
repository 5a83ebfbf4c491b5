"""Loads the golden vectors as pytest parameters: what other implementations read, read the same way."""

import json
from typing import Any

import pytest

from spec.generate import ROOT
from spec.golden.invalid import NOT_UTF8
from spec.golden.notation import Vector, read

__all__ = ["NOT_UTF8", "load", "of", "read"]


def load(name: str) -> dict[str, Any]:
    """The file spec/vectors/`name`.json."""
    document: dict[str, Any] = json.loads((ROOT / f"spec/vectors/{name}.json").read_text("utf-8"))
    return document


def of(name: str, what: str, *labels: str, **only: object) -> list[Any]:
    """The vectors of a list in a file, named by some of their fields; `only` picks those whose fields are so."""
    vectors: list[Vector] = load(name)[what]
    chosen = [each for each in vectors if all(each.get(key) == value for key, value in only.items())]
    assert chosen, f"no vectors in {name}.json: {what} with {only}"
    return [_parameter(each, " ".join(str(each[label]) for label in labels)) for each in chosen]


def _parameter(vector: Vector, id_: str) -> Any:
    return pytest.param(vector, id=id_)
