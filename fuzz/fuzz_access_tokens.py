"""Fuzzes access tokens: who a token speaks for, or `TokenError`, for strangers' tokens and for well-signed nonsense."""

import hmac
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey
from posthouse.auth.tokens import TokenError, TokenVerifier
from posthouse.model.ids import check_id
from spec.golden import tokens

SIGNED = b"\x01"
"""Inputs that begin so are a header and claims to be signed with the right key; others are tokens as they are."""

_KEYS = {
    tokens.APP: AppKeys(
        signing=(
            SigningKey(kid="k1", algorithm=Algorithm.HS256, secret=tokens.SECRET),
            SigningKey(kid="k2", algorithm=Algorithm.EDDSA, public_key=tokens.PUBLIC_KEY),
        )
    )
}
_VERIFIER = TokenVerifier(_KEYS, ttl_s_max=tokens.TTL_S_MAX)


def check(data: bytes) -> None:
    token = _signed(data[1:]) if data.startswith(SIGNED) else data.decode("utf-8", "replace")
    try:
        identity = _VERIFIER.verify(token, tokens.NOW_S)
    except TokenError:
        return
    assert identity.app == tokens.APP
    assert check_id(identity.user, "user")
    assert identity.device == "" or check_id(identity.device, "device")
    assert tokens.NOW_S <= identity.expires_s <= tokens.NOW_S + tokens.TTL_S_MAX + 30
    assert data.startswith(SIGNED) or token.split(".")[1] in _ACCEPTED, "a token that nobody has signed"


def _signed(data: bytes) -> str:
    header, _, claims = data.partition(b"\0")
    text = f"{_base64url(header)}.{_base64url(claims)}"
    return f"{text}.{_base64url(hmac.digest(tokens.SECRET.encode(), text.encode(), 'sha256'))}"


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


_ACCEPTED = {token.split(".")[1] for _, token, code in tokens.CASES if code == 0}
_HEADER = b'{"alg":"HS256","typ":"JWT","kid":"k1"}'
_CLAIMS = b'{"iss":"acme","sub":"ann","aud":"posthouse","exp":1767229200'
SEEDS = [
    *(token.encode() for _, token, _ in tokens.CASES),
    SIGNED + _HEADER + b"\0" + _CLAIMS + b"}",
    SIGNED + _HEADER + b"\0" + _CLAIMS + b',"nbf":1,"iat":1.5,"device":"phone","scope":"a b","app":"acme"}',
    SIGNED + b'{"alg":"HS256","kid":"k1","crit":["b64"],"b64":false}' + b"\0" + _CLAIMS + b',"aud":["x"]}',
]
WORDS = [
    b".",
    b"=",
    b"-",
    b"_",
    b"+",
    b"/",
    b"{",
    b"}",
    b"[",
    b'"alg":',
    b'"none"',
    b'"kid":"k2"',
    b'"crit":["exp"]',
    b'"b64":false',
    b'"jwk":{}',
    b'"app":"acme"',
    b'"exp":',
    b"1e308",
    b"1e999",
    b"NaN",
    b"\x00",
    b"\xff",
    b"\\ud800",
    b"null",
    b'"sub":""',
    b"eyJ",
    b'"iss":',
    b'"zip":"DEF"',
    b"[[[[",
    b"\xef\xbb\xbf",
]

FUZZER = Fuzzer("access_tokens", check, ("posthouse.auth.",), SEEDS, WORDS, size_max=6_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
