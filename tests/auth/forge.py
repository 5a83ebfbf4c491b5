"""Makes tokens by hand, good and forged, with nothing of the code under test."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from posthouse.auth.keys import Algorithm, AppKeys, SigningKey, api_key_hash
from posthouse.auth.tokens import CLOCK_SKEW_S

NOW_S = 1_800_000_000
TTL_S_MAX = 86_400
SECRET = "a secret of acme, long enough to be one"
OLD_SECRET = "the secret that acme used until last week"
OTHER_SECRET = "a secret of umbrella, which is another app"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
PUBLIC_PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PUBLIC_RAW = urlsafe_b64encode(PRIVATE.public_key().public_bytes_raw()).rstrip(b"=").decode()
ED448_PEM = (
    Ed448PrivateKey.generate()
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
PRIVATE_PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

APPS = {
    "acme": AppKeys(
        signing=(
            SigningKey(kid="old", algorithm=Algorithm.HS256, secret=OLD_SECRET, retired=True),
            SigningKey(kid="ed", algorithm=Algorithm.EDDSA, public_key=PUBLIC_PEM),
            SigningKey(kid="now", algorithm=Algorithm.HS256, secret=SECRET),
        ),
        api_key_hashes=(api_key_hash("ph_acme"),),
    ),
    "umbrella": AppKeys(
        signing=(SigningKey(kid="now", algorithm=Algorithm.HS256, secret=OTHER_SECRET),),
        api_key_hashes=(api_key_hash("ph_umbrella"),),
    ),
}

Sign = Callable[[bytes], bytes]


def hs256(secret: str | bytes) -> Sign:
    key = secret.encode() if isinstance(secret, str) else secret
    return lambda data: hmac.digest(key, data, hashlib.sha256)


def eddsa(data: bytes) -> bytes:
    return PRIVATE.sign(data)


def unsigned(data: bytes) -> bytes:
    return b""


def base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: object) -> dict[str, object]:
    """Good claims with some changed; a value of None leaves the claim out."""
    good = {"sub": "alice", "aud": "posthouse", "iss": "acme", "exp": NOW_S + 3600} | changes
    return {name: value for name, value in good.items() if value is not None}


def token(
    payload: Mapping[str, object] | bytes,
    sign: Sign,
    *,
    alg: str = "HS256",
    kid: str | None = "now",
    **header: object,
) -> str:
    head = {"alg": alg, "typ": "JWT", "kid": kid} | header
    head = {name: value for name, value in head.items() if value is not None}
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{base64(json.dumps(head).encode())}.{base64(body)}"
    return f"{signed}.{base64(sign(signed.encode()))}"


def good(**changes: object) -> str:
    """A token of alice of acme that must be accepted, unless `changes` spoil it."""
    return token(claims(**changes), hs256(SECRET))


FORGED = {
    "alg none, without a signature": token(claims(), unsigned, alg="none"),
    "alg none, in other letters": token(claims(), unsigned, alg="nOnE"),
    "alg none with a real kid of EdDSA": token(claims(), unsigned, alg="none", kid="ed"),
    "no alg": token(claims(), hs256(SECRET), alg=None),  # type: ignore[arg-type]
    "HS256 with the public key as the secret": token(claims(), hs256(PUBLIC_PEM), kid="ed"),
    "HS256 with the raw public key as the secret": token(claims(), hs256(PUBLIC_RAW), kid="ed"),
    "EdDSA claimed for a shared secret": token(claims(), eddsa, alg="EdDSA", kid="now"),
    "HS512 claimed for an HS256 key": token(claims(), hs256(SECRET), alg="HS512"),
    "an algorithm that is a list": token(claims(), hs256(SECRET), alg=["HS256"]),  # type: ignore[arg-type]
    "wrong secret": token(claims(), hs256("another secret, as long as the others")),
    "empty secret": token(claims(), hs256("")),
    "no kid": token(claims(), hs256(SECRET), kid=None),
    "unknown kid": token(claims(), hs256(SECRET), kid="nobody"),
    "kid that is a path": token(claims(), hs256(""), kid="../../dev/null"),
    "kid that is a number": token(claims(), hs256(SECRET), kid=1),  # type: ignore[arg-type]
    "a key smuggled in as jwk": token(claims(), hs256("x" * 32), kid=None, jwk={"kty": "oct", "k": "eHh4"}),
    "a key smuggled in as jku": token(claims(), hs256("x" * 32), kid="now", jku="https://evil.example/keys"),
    "an extension marked critical": token(claims(), hs256(SECRET), crit=["b64"], b64=False),
    "claims of another app, signed by its own key": token(claims(iss="acme"), hs256(OTHER_SECRET)),
    "our signature over another app's name": token(claims(iss="umbrella"), hs256(SECRET)),
    "two apps at once": token(claims(iss="acme", app="umbrella"), hs256(SECRET)),
    "unknown app": good(iss="nobody"),
    "no app": good(iss=None),
    "app that is a list": good(iss=["acme"]),
    "wrong audience": good(aud="another-service"),
    "no audience": good(aud=None),
    "audience that only begins like ours": good(aud="posthouse2"),
    "empty list of audiences": good(aud=[]),
    "no exp": good(exp=None),
    "exp that is a text": good(exp=str(NOW_S + 3600)),
    "exp that is true": good(exp=True),
    "exp too far ahead": good(exp=NOW_S + TTL_S_MAX + CLOCK_SKEW_S + 1),
    "exp beyond all integers": token(
        b'{"sub":"alice","aud":"posthouse","iss":"acme","exp":1e999}', hs256(SECRET)
    ),
    "exp with 5,000 digits": token(
        b'{"sub":"alice","aud":"posthouse","iss":"acme","exp":' + b"9" * 2500 + b"}", hs256(SECRET)
    ),
    "nbf in the future": good(nbf=NOW_S + CLOCK_SKEW_S + 1),
    "no sub": good(sub=None),
    "empty sub": good(sub=""),
    "sub that is a number": good(sub=7),
    "sub with NUL": good(sub="ali\0ce"),
    "sub with a line break": good(sub="alice\nlevel=error"),
    "sub with white space at its end": good(sub="alice "),
    "sub with a lone surrogate": token(
        b'{"sub":"a\\ud800","aud":"posthouse","iss":"acme","exp":%d}' % (NOW_S + 60), hs256(SECRET)
    ),
    "sub of 129 bytes": good(sub="x" * 129),
    "device with NUL": good(device="phone\0"),
    "device that is a number": good(device=1),
    "oversized, though genuine": good(padding="x" * 4096),
    "payload that is a list": token(b"[]", hs256(SECRET)),
    "payload that is not JSON": token(b"{", hs256(SECRET)),
    "payload nested very deep": token(b"[" * 1500, hs256(SECRET)),
    "empty": "",
    "only dots": "..",
    "two parts": good().rpartition(".")[0],
    "four parts": good() + ".x",
    "no signature": good().rpartition(".")[0] + ".",
    "signature of another token": good(sub="bob").rpartition(".")[0] + "." + good().rpartition(".")[2],
    "signature cut short": good()[:-4],
    "white space around": f" {good()} ",
    "with a line break in it": good().replace(".", ".\n", 1),
    "not ASCII": "é" * 50,
    "lone surrogate": "\ud800.\ud800.\ud800",
    "NUL": "\0",
}
