"""Reading a token's dates."""

import base64
import json

import pytest

from posthouse.client.token import read_claims, renew_in_s


def token(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def test_a_long_token_is_renewed_a_minute_before_its_end() -> None:
    assert renew_in_s(token(exp=10_000), now_ms=0) == 10_000 - 60


def test_a_short_token_is_renewed_in_the_last_fifth_of_its_life() -> None:
    assert renew_in_s(token(exp=100), now_ms=0) == 80


def test_a_token_that_has_ended_is_renewed_now() -> None:
    assert renew_in_s(token(exp=100), now_ms=200_000) == 0


DEEP = base64.b64encode(b'{"x":' + b"[" * 99_999).decode()


@pytest.mark.parametrize(
    "opaque", ["", "opaque", "a.b.c", "a.e30.c", "a.W10.c", "ä.é.ü", f"x.{'e' * 9}.y", f"a.{DEEP}.c"]
)
def test_a_token_that_says_nothing_is_never_renewed(opaque: str) -> None:
    assert renew_in_s(opaque, now_ms=0) is None


def test_the_user_can_be_read() -> None:
    assert read_claims(token(sub="ann")).sub == "ann"
