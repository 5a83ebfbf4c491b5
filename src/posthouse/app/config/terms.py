"""What the values of the configuration are made of: their meanings, forms and bounds. Pure."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


def says(meaning: str) -> Meta:
    """What a key brings about, for the person who sets it."""
    return Meta(description=" ".join(meaning.split()))


def form(pattern: str, words: str) -> Meta:
    """A text of a certain form, and how to call that form."""
    return Meta(pattern=pattern, extra={"form": words})


MASKED = Meta(extra={"masked": "all"})
URL = Meta(extra={"masked": "url"})
"""Keys that are not shown as they are; of a URL only the password is hidden."""

Count = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Rate = Annotated[float, Meta(gt=0, le=1e9)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}\Z")]


Policy = Literal[
    "static-weights",
    "round-robin",
    "weighted-round-robin",
    "least-connections",
    "weighted-least-connections",
    "two-choices",
    "dynamic-weights",
    "prequal",
]
"""All are in docs/balancing.md."""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all rooms of the configuration."""
