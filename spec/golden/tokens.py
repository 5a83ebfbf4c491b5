"""Access tokens, with the keys they are signed with: what a back end in any language must be able to make.

Ed25519 and HMAC give the same signature each time, so the tokens here can be made anew and compared.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from posthouse.protocol.codes import Code
from spec.golden.notation import Vector

NOW_S = 1_767_225_600
TTL_S_MAX = 86_400
APP = "acme"
SECRET = "a secret of acme, long enough to be one"
OTHER_SECRET = "a secret of umbrella, which is another app"
_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

Sign = Callable[[bytes], bytes]


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


PUBLIC_KEY = _base64url(_PRIVATE.public_key().public_bytes_raw())


def _hs256(secret: str) -> Sign:
    return lambda data: hmac.digest(secret.encode(), data, hashlib.sha256)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _token(claims: dict[str, object], sign: Sign | None = None, **header: object) -> str:
    head = {"alg": "HS256", "typ": "JWT", "kid": "k1"} | header
    signed = (
        f"{_base64url(_json({k: v for k, v in head.items() if v is not None}))}.{_base64url(_json(claims))}"
    )
    return f"{signed}.{_base64url((sign or _hs256(SECRET))(signed.encode()))}"


def _claims(**changes: object) -> dict[str, object]:
    good = {"iss": APP, "sub": "ann", "aud": "posthouse", "exp": NOW_S + 3600} | changes
    return {name: value for name, value in good.items() if value is not None}


GOOD_TOKEN = _token(_claims())


def token_of(sub: str, **claims: object) -> str:
    """A good token of another user."""
    return _token(_claims(sub=sub, **claims))


CASES: list[tuple[str, str, int]] = [
    ("the least a token says", GOOD_TOKEN, 0),
    ("signed with Ed25519", _token(_claims(), _PRIVATE.sign, alg="EdDSA", kid="k2"), 0),
    ("for one device only", _token(_claims(device="phone")), 0),
    ("the app in a claim of its own", _token(_claims(iss="auth.acme.example", app=APP)), 0),
    ("several audiences", _token(_claims(aud=["mail", "posthouse"])), 0),
    ("issued by a clock that is 20 s ahead", _token(_claims(nbf=NOW_S + 20, iat=NOW_S + 20)), 0),
    ("unknown claims", _token(_claims(name="Ann", roles=[1, 2])), 0),
    ("just expired", _token(_claims(exp=NOW_S)), Code.TOKEN_EXPIRED),
    ("not valid yet", _token(_claims(nbf=NOW_S + 60)), Code.TOKEN_INVALID),
    ("lives longer than is allowed", _token(_claims(exp=NOW_S + TTL_S_MAX + 60)), Code.TOKEN_INVALID),
    ("for another service", _token(_claims(aud="mail")), Code.TOKEN_INVALID),
    ("for no service", _token(_claims(aud=None)), Code.TOKEN_INVALID),
    ("without an expiry", _token(_claims(exp=None)), Code.TOKEN_INVALID),
    ("without a user", _token(_claims(sub=None)), Code.TOKEN_INVALID),
    ("a user whose id cannot be", _token(_claims(sub=" ann")), Code.TOKEN_INVALID),
    ("an app that is not known", _token(_claims(iss="nobody")), Code.TOKEN_INVALID),
    ("a key that is not known", _token(_claims(), kid="k9"), Code.TOKEN_INVALID),
    ("no key named", _token(_claims(), kid=None), Code.TOKEN_INVALID),
    ("signed with the secret of another app", _token(_claims(), _hs256(OTHER_SECRET)), Code.TOKEN_INVALID),
    ("unsigned", _token(_claims(), lambda _: b"", alg="none"), Code.TOKEN_INVALID),
    (
        "HMAC with the public key as the secret",
        _token(_claims(), _hs256(PUBLIC_KEY), kid="k2"),
        Code.TOKEN_INVALID,
    ),
    ("another algorithm than the key's", _token(_claims(), alg="HS512"), Code.TOKEN_INVALID),
    ("no token at all", "a.b.c", Code.TOKEN_INVALID),
    ("empty", "", Code.TOKEN_INVALID),
]


def document() -> Vector:
    """The file tokens.json."""
    return {
        "about": f"Access tokens (P-4.1) as seen at `now_s`, where tokens may live {TTL_S_MAX} s. `code` 0: accepted,"
        " for the user `ann` of the app `acme`.",
        "now_s": NOW_S,
        "ttl_s_max": TTL_S_MAX,
        "keys": [
            {"app": APP, "kid": "k1", "algorithm": "HS256", "secret": SECRET},
            {"app": APP, "kid": "k2", "algorithm": "EdDSA", "public_key": PUBLIC_KEY},
            {"app": "umbrella", "kid": "k1", "algorithm": "HS256", "secret": OTHER_SECRET},
        ],
        "tokens": [{"name": name, "token": token, "code": int(code)} for name, token, code in CASES],
    }
