"""Everybody is in as many groups as everybody else."""

import random
from collections import Counter

import pytest

from posthouse.load.bench.population import groups

USERS = [f"user-{number}" for number in range(60)]


def test_every_user_is_in_as_many_groups_and_in_none_twice() -> None:
    formed = groups(USERS, size=5, rounds=7, chance=random.Random(0))
    assert Counter(user for group in formed for user in group) == dict.fromkeys(USERS, 7)
    assert all(len(set(group)) == 5 for group in formed)


def test_users_that_cannot_be_divided_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="60 users"):
        groups(USERS, size=7, rounds=1, chance=random.Random(0))
