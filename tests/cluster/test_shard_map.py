"""Which database owns which shard: dealt once, told by whoever knows more."""

import pytest
from hypothesis import given, strategies as st

from posthouse.cluster.shard_map import dealt, first_deal, newer
from posthouse.storage.base import Charter, Owner


@given(st.integers(1, 8), st.integers(1, 256))
def test_shards_are_dealt_evenly(databases: int, shards: int) -> None:
    names = [f"d{n}" for n in range(databases)]
    counts = dealt(names, shards).counts()
    assert sum(counts.values()) == shards
    assert max(counts.values()) - min(counts.get(name, 0) for name in names) <= 1


def test_a_database_that_was_alone_keeps_everything() -> None:
    cards = first_deal({"main": Charter([], {}, empty=False), "b": Charter([], {}, empty=True)}, 64)
    assert cards.counts() == {"main": 64}


def test_it_does_not_matter_in_which_order_databases_are_named() -> None:
    """Nodes that start at once deal the same cards."""
    empty = Charter([], {}, empty=True)
    assert first_deal({"a": empty, "b": empty}, 64) == first_deal({"b": empty, "a": empty}, 64)


def test_nobody_guesses_whose_the_shards_are() -> None:
    filled = Charter([], {}, empty=False)
    with pytest.raises(ValueError, match="a and b hold conversations"):
        first_deal({"a": filled, "b": filled}, 64)


def test_the_higher_epoch_wins_whoever_says_it() -> None:
    known = dealt(["a", "b"], 4)
    moved = [Owner(0, "b", 2), Owner(1, "a", 1), Owner(2, "b", 3), Owner(9, "b", 9)]
    late = [Owner(2, "a", 2)]
    found = newer(known, [late, moved, late])
    assert [(each.database, each.epoch) for each in found.owners] == [("b", 2), ("b", 1), ("b", 3), ("b", 1)]


def test_a_conversation_lies_where_its_shard_lies() -> None:
    cards = dealt(["a", "b"], 64)
    for log in ("g", "~ann", "=x"):
        assert cards.owner("app", log) == cards.owners[cards.shard("app", log)].database
