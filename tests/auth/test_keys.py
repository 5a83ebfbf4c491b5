"""API keys name the app of a back end; what is kept of them opens nothing."""

import pytest

from posthouse.auth.keys import (
    Algorithm,
    ApiKeys,
    InvalidKey,
    SigningKey,
    api_key_hash,
    new_api_key,
    new_secret,
)

KEY, OTHER = new_api_key(), new_api_key()
KEYS = ApiKeys([("acme", api_key_hash(KEY)), ("umbrella", api_key_hash(OTHER).upper())])


def test_a_key_opens_its_own_app_and_no_other() -> None:
    assert KEYS.app_of(KEY) == "acme"
    assert KEYS.app_of(OTHER) == "umbrella"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ph_",
        KEY[:-1],
        KEY + "x",
        KEY.upper(),
        KEY[3:],
        api_key_hash(KEY),
        f"{KEY} ",
        "ph_é",
        "ph_" + "x" * 5000,
    ],
    ids=range(10),  # the keys are new each time; the tests' names must not be
)
def test_anything_else_opens_nothing(key: str) -> None:
    assert KEYS.app_of(key) is None


def test_new_keys_and_secrets_are_long_and_never_the_same() -> None:
    assert len({new_api_key() for _ in range(100)} | {new_secret() for _ in range(100)}) == 200
    assert all(len(text) >= 43 for text in (new_api_key(), new_secret()))
    assert new_api_key().startswith("ph_")


def test_two_apps_may_not_have_a_key_in_common() -> None:
    with pytest.raises(InvalidKey, match=r"acme.*umbrella"):
        ApiKeys([("acme", api_key_hash(KEY)), ("umbrella", api_key_hash(KEY))])


def test_no_secret_shows_in_a_repr() -> None:
    key = SigningKey(kid="k1", algorithm=Algorithm.HS256, secret="do not print me", private_key="nor me")
    assert "print" not in repr(key) + str(key) + f"{[key]}"
    assert "k1" in repr(key)
