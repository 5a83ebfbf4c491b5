"""Makes tokens by hand, good and forged, with nothing of the code under test."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from posthouse.auth.keys import Algorithm, AppKeys, SigningKey, api_key_hash

NOW_S = 1_800_000_000
TTL_S_MAX = 86_400
SECRET = "a secret of acme, long enough to be one"
OLD_SECRET = "the secret that acme used until last week"
OTHER_SECRET = "a secret of umbrella, which is another app"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
PUBLIC_PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PUBLIC_RAW = urlsafe_b64encode(PRIVATE.public_key().public_bytes_raw()).rstrip(b"=").decode()
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
