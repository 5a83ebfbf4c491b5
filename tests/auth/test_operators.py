"""Operators' keys: one follows from the cluster's secret, others are configured by their hashes."""

from posthouse.auth.keys import api_key_hash
from posthouse.auth.operators import OPERATOR_KEY_PREFIX, OperatorKeys, operator_key

SECRET = "the secret that all nodes of a cluster share"


def test_nodes_that_share_a_secret_have_the_same_operators_key() -> None:
    assert operator_key(SECRET) == operator_key(SECRET)
    assert operator_key(SECRET) != operator_key(f"{SECRET}.")
    assert SECRET not in operator_key(SECRET)


def test_only_the_keys_whose_hashes_are_known_open() -> None:
    own, other = operator_key(SECRET), OPERATOR_KEY_PREFIX + "another-one"
    keys = OperatorKeys([api_key_hash(own).upper()])
    assert keys.opens(own)
    assert not keys.opens(other)
    assert OperatorKeys([api_key_hash(own), api_key_hash(other)]).opens(other)


def test_what_is_no_operators_key_never_opens() -> None:
    keys = OperatorKeys([api_key_hash("ph_an-api-key"), api_key_hash("")])
    for nonsense in ("", "ph_an-api-key", f"{OPERATOR_KEY_PREFIX}\u00e9", OPERATOR_KEY_PREFIX * 100):
        assert not keys.opens(nonsense)
