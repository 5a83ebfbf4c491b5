"""Who is in a conversation with whom: every user in as many groups, of one size, otherwise by chance."""

import random
from collections.abc import Sequence


def groups(users: Sequence[str], size: int, rounds: int, chance: random.Random) -> list[list[str]]:
    """Groups of `size` such that every user is in `rounds` of them; `size` must divide the number of users."""
    if len(users) % size:
        raise ValueError(f"{len(users)} users cannot be divided into groups of {size}")
    formed = []
    for _ in range(rounds):
        order = list(users)
        chance.shuffle(order)
        formed += [order[at : at + size] for at in range(0, len(order), size)]
    return formed
