"""Taking a safeguard out: names in the product replaced for a while, never a switch in the product itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

Patches = Mapping[str, Any]
"""`package.module:Class.attribute` → what stands there instead; `Wrapped` sees what stood there."""


class Wrapped:
    """A replacement that is made from the original."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make


@contextmanager
def broken(patches: Patches) -> Iterator[None]:
    """Inside, the product lacks a safeguard. Raises `AttributeError` for a name that is not there any more."""
    with ExitStack() as stack:
        for place, instead in patches.items():
            owner, _, name = (
                place.rpartition(".") if "." in place.partition(":")[2] else place.rpartition(":")
            )
            holder = resolve_name(owner)
            original = getattr(holder, name)
            new = instead.make(original) if isinstance(instead, Wrapped) else instead
            stack.enter_context(patch.object(holder, name, new))
        yield
