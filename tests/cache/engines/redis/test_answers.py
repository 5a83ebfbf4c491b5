"""What the cache answers about leases and nodes is what was asked, or the port's own error."""

import pytest

from posthouse.cache.base import CacheUnavailable, Lease, NodeRecord
from posthouse.cache.engines.redis.leases import lease_of
from posthouse.cache.engines.redis.nodes import records_of
from posthouse.valkey.link import Reply


def test_what_was_asked_is_read() -> None:
    assert lease_of("repair", [b"n1", b"17"]) == Lease("repair", "n1", 17)
    told = [[b"n2", 7, 250, b"{}"], [b"n1", 1, 0, b""]]
    assert records_of(told) == [NodeRecord("n1", 1, 0.0, b""), NodeRecord("n2", 7, 0.25, b"{}")]


@pytest.mark.parametrize(
    "reply", [None, 1, [], [b"n1"], [b"n1", 17], [b"n1", b"x"], [None, b"17"], [b"n1", b"-1"]], ids=repr
)
def test_what_is_no_lease_is_no_answer(reply: Reply) -> None:
    with pytest.raises(CacheUnavailable):
        lease_of("repair", reply)


@pytest.mark.parametrize(
    "reply",
    [None, 1, [1], [[b"n1", 1, 0]], [[b"n1", 1, -1, b""]], [[1, 1, 0, b""]], [[b"n1", b"1", 0, b""]]],
    ids=repr,
)
def test_what_is_no_register_is_no_answer(reply: Reply) -> None:
    """Taken for an empty one it would say that all nodes have gone."""
    with pytest.raises(CacheUnavailable):
        records_of(reply)
