"""The safeguards of G1 to G7, all of them."""

from posthouse.testing.mutation.promises import g1, g2, g3, g4, g5, g6, g7
from posthouse.testing.mutation.safeguard import Safeguard

SAFEGUARDS: tuple[Safeguard, ...] = (
    *g1.SAFEGUARDS,
    *g2.SAFEGUARDS,
    *g3.SAFEGUARDS,
    *g4.SAFEGUARDS,
    *g5.SAFEGUARDS,
    *g6.SAFEGUARDS,
    *g7.SAFEGUARDS,
)


def named(name: str) -> Safeguard:
    """The safeguard called `name`. Raises `KeyError`."""
    return {safeguard.name: safeguard for safeguard in SAFEGUARDS}[name]
