"""Who gets in, and a table of everything that must not."""

import jwt
import pytest
from hypothesis import given, strategies as st

from posthouse.auth.keys import Algorithm, AppKeys, InvalidKey, SigningKey
from posthouse.auth.tokens import (
    CLOCK_SKEW_S,
    Identity,
    TokenError,
    TokenExpired,
    TokenInvalid,
    TokenIssuer,
    TokenVerifier,
)
from posthouse.model.errors import InvalidId
from posthouse.protocol.codes import Action, action_of
from tests.auth.forge import (
    APPS,
    ED448_PEM,
    FORGED,
    NOW_S,
    OLD_SECRET,
    PRIVATE_PEM,
    PUBLIC_PEM,
    PUBLIC_RAW,
    SECRET,
    TTL_S_MAX,
    claims,
    eddsa,
    good,
    hs256,
    token,
)

VERIFIER = TokenVerifier(APPS, ttl_s_max=TTL_S_MAX)

ACCEPTED = {
    "signed with the shared secret": good(),
    "signed with Ed25519": token(claims(), eddsa, alg="EdDSA", kid="ed"),
    "signed with a retired key that is still listed": token(claims(), hs256(OLD_SECRET), kid="old"),
    "for several audiences": good(aud=["other", "posthouse"]),
    "with the app in a claim of its own": good(iss="https://login.acme.example", app="acme"),
    "with claims that the server does not know": good(email="alice@acme.example", roles=[1, {"a": None}]),
    "with fractions of a second": good(exp=NOW_S + 3600.5),
    "expiring as late as may be": good(exp=NOW_S + TTL_S_MAX),
    "from an issuer whose clock is a little ahead": good(nbf=NOW_S + CLOCK_SKEW_S),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_genuine_token_proves_app_and_user(name: str) -> None:
    """P-4.1."""
    identity = VERIFIER.verify(ACCEPTED[name], NOW_S)
    assert (identity.app, identity.user) == ("acme", "alice")


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_invalid(name: str) -> None:
    """P-4.1, P-4.2."""
    with pytest.raises(TokenInvalid):
        VERIFIER.verify(FORGED[name], NOW_S)


def test_each_character_of_a_token_counts() -> None:
    genuine = good()
    for at in range(len(genuine)):
        other = "A" if genuine[at] != "A" else "B"
        with pytest.raises(TokenError):
            VERIFIER.verify(genuine[:at] + other + genuine[at + 1 :], NOW_S)


def test_a_token_is_good_until_the_second_it_expires() -> None:
    assert VERIFIER.verify(good(exp=NOW_S + 1), NOW_S).expires_s == NOW_S + 1
    with pytest.raises(TokenExpired) as caught:
        VERIFIER.verify(good(exp=NOW_S + 1), NOW_S + 1)
    assert action_of(caught.value.code) is Action.REAUTHENTICATE


def test_an_expired_token_with_a_bad_signature_is_invalid_not_expired() -> None:
    """Otherwise anyone could ask which claims would be accepted."""
    with pytest.raises(TokenInvalid):
        VERIFIER.verify(token(claims(exp=NOW_S - 1), hs256("x" * 32)), NOW_S)


def test_a_reason_never_repeats_what_the_token_says() -> None:
    """Reasons go to logs and clients: what a stranger wrote does not belong there."""
    for forged in FORGED.values():
        with pytest.raises(TokenInvalid) as caught:
            VERIFIER.verify(forged, NOW_S)
        assert str(caught.value).isprintable()
        assert not any(word in str(caught.value) for word in ("alice", "level", "evil", "/dev/null"))


def test_device_and_scopes_are_read_from_the_claims() -> None:
    identity = VERIFIER.verify(good(device="phone", scope="read send"), NOW_S)
    assert identity == Identity("acme", "alice", NOW_S + 3600, "phone", frozenset({"read", "send"}))


@pytest.mark.parametrize("user", ["|trey|", "[foo]^", "a/b", "~x", "=x", "ä" * 64, "Ünï cödé"])
def test_odd_names_are_good_names(user: str) -> None:
    assert VERIFIER.verify(good(sub=user), NOW_S).user == user


def test_a_removed_key_no_longer_verifies() -> None:
    without = {"acme": AppKeys(signing=APPS["acme"].signing[1:])}
    with pytest.raises(TokenInvalid):
        TokenVerifier(without, ttl_s_max=TTL_S_MAX).verify(
            ACCEPTED["signed with a retired key that is still listed"], NOW_S
        )


@given(st.text(max_size=300) | st.text(alphabet="eyJ0.-_AQgw=", max_size=300))
def test_no_text_at_all_raises_anything_but_a_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        VERIFIER.verify(text, NOW_S)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_genuine_signature_makes_bad_claims_anything_but_a_token_error(
    payload: bytes, header: bytes
) -> None:
    with pytest.raises(TokenError):
        VERIFIER.verify(token(payload, hs256(SECRET)), NOW_S)


def test_an_issued_token_is_accepted_here_and_by_another_library() -> None:
    issued = TokenIssuer(APPS).issue("acme", "alice", now_s=NOW_S, ttl_s=60, device="phone", scopes=("read",))
    assert VERIFIER.verify(issued, NOW_S) == Identity(
        "acme", "alice", NOW_S + 60, "phone", frozenset({"read"})
    )
    read = jwt.decode(issued, SECRET, ["HS256"], audience="posthouse", options={"verify_iat": False})
    assert read["sub"] == "alice"


def test_tokens_are_signed_with_the_newest_key_that_is_not_retired() -> None:
    issued = TokenIssuer(APPS).issue("acme", "alice", now_s=NOW_S, ttl_s=60)
    assert jwt.get_unverified_header(issued) == {"alg": "HS256", "kid": "now", "typ": "JWT"}


def test_an_app_that_keeps_its_private_key_issues_its_tokens_itself() -> None:
    issuer = TokenIssuer({"acme": AppKeys(signing=(APPS["acme"].signing[1],))})
    assert not issuer.can_issue("acme")
    assert not issuer.can_issue("nobody")


def test_an_app_may_leave_its_private_key_here() -> None:
    apps = {
        "acme": AppKeys(signing=(SigningKey(kid="k", algorithm=Algorithm.EDDSA, private_key=PRIVATE_PEM),))
    }
    issued = TokenIssuer(apps).issue("acme", "alice", now_s=NOW_S, ttl_s=60)
    assert TokenVerifier(apps, ttl_s_max=TTL_S_MAX).verify(issued, NOW_S).user == "alice"


def test_a_public_key_may_be_given_as_32_bytes_in_base64url() -> None:
    apps = {
        "acme": AppKeys(signing=(SigningKey(kid="ed", algorithm=Algorithm.EDDSA, public_key=PUBLIC_RAW),))
    }
    assert (
        TokenVerifier(apps, ttl_s_max=TTL_S_MAX).verify(ACCEPTED["signed with Ed25519"], NOW_S).user
        == "alice"
    )


def test_no_token_is_issued_for_an_invalid_user_or_device() -> None:
    issuer = TokenIssuer(APPS)
    for user, device in (("", ""), ("a\0b", ""), ("alice", "x\n")):
        with pytest.raises(InvalidId):
            issuer.issue("acme", user, now_s=NOW_S, ttl_s=60, device=device)


UNUSABLE = {
    "secret too short": SigningKey(kid="k", algorithm=Algorithm.HS256, secret="short"),
    "no secret": SigningKey(kid="k", algorithm=Algorithm.HS256),
    "a public key as the secret": SigningKey(kid="k", algorithm=Algorithm.HS256, secret=PUBLIC_PEM),
    "a secret and a public key": SigningKey(
        kid="k", algorithm=Algorithm.HS256, secret=SECRET, public_key=PUBLIC_PEM
    ),
    "no public key": SigningKey(kid="k", algorithm=Algorithm.EDDSA),
    "a private key where the public one belongs": SigningKey(
        kid="k", algorithm=Algorithm.EDDSA, public_key=PRIVATE_PEM
    ),
    "a secret where the public key belongs": SigningKey(
        kid="k", algorithm=Algorithm.EDDSA, public_key=SECRET
    ),
    "a key of another curve": SigningKey(kid="k", algorithm=Algorithm.EDDSA, public_key=ED448_PEM),
    "a key of a kind that nobody knows": SigningKey(
        kid="k", algorithm=Algorithm.EDDSA, public_key=PUBLIC_PEM.replace("BQYDK2Vw", "BQYDI2Vw")
    ),
    "a public key that is none": SigningKey(kid="k", algorithm=Algorithm.EDDSA, public_key="AAAA"),
    "no kid": SigningKey(kid="", algorithm=Algorithm.HS256, secret=SECRET),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_key_that_cannot_be_used_is_refused_at_the_start_by_name(name: str) -> None:
    with pytest.raises(InvalidKey, match="acme") as caught:
        TokenVerifier({"acme": AppKeys(signing=(UNUSABLE[name],))}, ttl_s_max=TTL_S_MAX)
    assert SECRET not in str(caught.value)


def test_two_keys_of_one_app_may_not_share_a_kid() -> None:
    key = APPS["acme"].signing[2]
    with pytest.raises(InvalidKey, match="kid"):
        TokenVerifier({"acme": AppKeys(signing=(key, key))}, ttl_s_max=TTL_S_MAX)
