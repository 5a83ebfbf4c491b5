"""Randomness as an argument. Only this module draws on the machine's entropy; everything else is given a `Random`."""

import random


def system_random() -> random.Random:
    """A generator fed by the operating system: for ids that must never collide. It cannot be seeded."""
    return random.SystemRandom()
