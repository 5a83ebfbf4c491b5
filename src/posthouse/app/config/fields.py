"""What the types of the configuration say about themselves: rooms and keys, with meaning, default and bounds. Pure."""

from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from posthouse.app.config.values import Config, Room

SETS = ("databases", "apps")
"""Parts of the configuration that hold one room for each name."""


class Field(NamedTuple):
    """One key of a room. `masked` is "", "url" (its password), or "all"."""

    name: str
    type: Any
    default: Any
    description: str
    masked: str


@cache
def fields(room: type[Room]) -> dict[str, Field]:
    """The keys of a room, in the order in which they are written down."""
    hints = get_type_hints(room, include_extras=True)
    return {item.name: _field(item, hints[item.name]) for item in msgspec.structs.fields(room)}


@cache
def rooms() -> dict[str, type[Room]]:
    """The rooms of the configuration by name. Those of `SETS` are none of them: they hold one room for each name."""
    return {item.name: item.type for item in msgspec.structs.fields(Config) if item.name not in SETS}


def expected(type_: Any) -> str:
    """The type in words: "a whole number of 1 or more", "text", "one of …"."""
    base, metas = _bare(type_)
    if get_origin(base) is Literal:
        return "one of " + ", ".join(map(str, get_args(base)))
    if get_origin(base) is tuple:
        return "a list of texts" if _bare(get_args(base)[0])[0] is str else "a list of tables"
    form = _extra(metas, "form")
    return f"{_WORDS[base]}{''.join(map(_bounds, metas))}" + (f" of the form: {form}" if form else "")


def element(type_: Any) -> Any:
    """The type of a list's elements, or None when it is no list."""
    base, _ = _bare(type_)
    return get_args(base)[0] if get_origin(base) is tuple else None


_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _bounds(meta: Meta) -> str:
    low, high = meta.ge, meta.le if meta.le and meta.le < 2**53 - 1 else None
    words = {
        f" from {low} to {high}": low is not None and high is not None,
        f" of {low} or more": low is not None and high is None,
        f" above {meta.gt}": meta.gt is not None,
        f" of {meta.min_length} to {meta.max_length} characters": meta.max_length is not None,
        ", not empty": meta.min_length == 1 and meta.max_length is None,
    }
    return "".join(text for text, applies in words.items() if applies)


def _field(item: msgspec.structs.FieldInfo, type_: Any) -> Field:
    metas = _bare(type_)[1]
    described = next((meta.description for meta in metas if meta.description), "")
    return Field(item.name, type_, item.default, described, _extra(metas, "masked"))


def _extra(metas: list[Meta], name: str) -> str:
    return next((meta.extra[name] for meta in metas if meta.extra and name in meta.extra), "")


def _bare(type_: Any) -> tuple[Any, list[Meta]]:
    """The type without its annotations, and these, from the inside out."""
    if get_origin(type_) is not Annotated:
        return type_, []
    base, *metas = get_args(type_)
    return base, [meta for meta in metas if isinstance(meta, Meta)]
