"""One safeguard, and how it is taken out."""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.testing.mutation.breaking import Patches


class Safeguard(NamedTuple):
    """`tests` names the tests that notice, as pytest does (`file::name`); without any, the simulation does."""

    name: str
    promise: str
    prevents: str
    patches: Patches
    tests: Sequence[str] = ()
