"""A resume token lets exactly one user's device go on, for a while."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.auth.keys import InvalidKey
from posthouse.auth.resume import ResumeRefused, ResumeTokens, Resumption
from posthouse.protocol.codes import Action, Code, action_of

NOW_S = 1_800_000_000
TOKENS = ResumeTokens("the secret that all nodes of a cluster share")
RESUMPTION = Resumption(
    app="acme",
    user="alice",
    device="phone",
    session="s1",
    node="n1",
    epoch="e1",
    issued_s=NOW_S,
    expires_s=NOW_S + 60,
)


def verify(
    token: str, *, app: str = "acme", user: str = "alice", device: str = "phone", now_s: float = NOW_S
) -> Resumption:
    return TOKENS.verify(token, app=app, user=user, device=device, now_s=now_s)


def test_what_was_issued_comes_back_whole() -> None:
    assert verify(TOKENS.issue(RESUMPTION)) == RESUMPTION


def test_the_longest_ids_make_a_token_that_is_accepted() -> None:
    longest = "ü" * 64
    big = Resumption(
        app=longest,
        user=longest,
        device=longest,
        session=longest,
        node=longest,
        epoch=longest,
        issued_s=0,
        expires_s=2**53,
    )
    assert verify(TOKENS.issue(big), app=longest, user=longest, device=longest) == big


@pytest.mark.parametrize("other", [{"app": "umbrella"}, {"user": "mallory"}, {"device": "laptop"}])
def test_someone_elses_token_is_refused(other: dict[str, str]) -> None:
    with pytest.raises(ResumeRefused, match="another user or device") as caught:
        verify(TOKENS.issue(RESUMPTION), **other)  # type: ignore[arg-type]
    assert caught.value.code is Code.RESUME_REFUSED
    assert action_of(caught.value.code) is Action.RESET


def test_an_old_token_is_refused() -> None:
    verify(TOKENS.issue(RESUMPTION), now_s=NOW_S + 59)
    with pytest.raises(ResumeRefused, match="expired"):
        verify(TOKENS.issue(RESUMPTION), now_s=NOW_S + 60)


def test_another_clusters_token_is_refused() -> None:
    foreign = ResumeTokens("a secret that another cluster has chosen")
    with pytest.raises(ResumeRefused, match="genuine"):
        verify(foreign.issue(RESUMPTION))


def test_each_character_counts() -> None:
    token = TOKENS.issue(RESUMPTION)
    for at in range(len(token) - 1):
        other = "A" if token[at] != "A" else "B"
        with pytest.raises(ResumeRefused):
            verify(token[:at] + other + token[at + 1 :])


def test_a_signature_made_for_another_purpose_is_refused() -> None:
    """The same secret may one day sign other things; they must never pass for resume tokens."""
    import hashlib
    import hmac
    from base64 import urlsafe_b64encode

    payload = msgspec.msgpack.encode(RESUMPTION)
    mac = hmac.digest(b"the secret that all nodes of a cluster share", payload, hashlib.sha256)
    with pytest.raises(ResumeRefused, match="genuine"):
        verify(urlsafe_b64encode(mac + payload).rstrip(b"=").decode())


@given(st.text(max_size=200) | st.text(alphabet="abcXYZ019-_=.+/ \n", max_size=3000))
def test_no_text_raises_anything_but_resume_refused(text: str) -> None:
    with pytest.raises(ResumeRefused):
        verify(text)


def test_a_short_secret_is_refused_at_the_start() -> None:
    with pytest.raises(InvalidKey, match="32 bytes"):
        ResumeTokens("short")
