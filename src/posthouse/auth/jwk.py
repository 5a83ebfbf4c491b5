"""Turns our key records into the JWT library's keys, each bound to its algorithm. No I/O.

Here a key is refused that would be dangerous or useless: too short, of the wrong kind, or with parts of two kinds.
"""

from base64 import urlsafe_b64encode

from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError
from jwt.algorithms import OKPAlgorithm

from posthouse.auth.keys import SECRET_BYTES_MIN, Algorithm, InvalidKey, SigningKey


def public_jwk(key: SigningKey) -> PyJWK:
    """The key that verifies; raises `InvalidKey`."""
    if key.algorithm is Algorithm.HS256:
        return _shared(key)
    return _public(key.public_key) if key.public_key else _private(key)


def private_jwk(key: SigningKey) -> PyJWK:
    """The key that signs; raises `InvalidKey`."""
    return _shared(key) if key.algorithm is Algorithm.HS256 else _private(key)


def _shared(key: SigningKey) -> PyJWK:
    if key.public_key or key.private_key:
        raise InvalidKey("HS256 takes a `secret` and no other key")
    secret = key.secret.encode()
    if len(secret) < SECRET_BYTES_MIN:
        raise InvalidKey(f"`secret` must have at least {SECRET_BYTES_MIN} bytes")
    jwk = {"kty": "oct", "k": urlsafe_b64encode(secret).rstrip(b"=").decode()}
    bound = PyJWK(jwk, Algorithm.HS256.value)
    try:
        bound.Algorithm.prepare_key(secret)
    except PyJWTError:
        raise InvalidKey("`secret` looks like a public key or certificate, which is no secret") from None
    return bound


def _public(text: str) -> PyJWK:
    if "PRIVATE" in text:
        raise InvalidKey("`public_key` holds a private key, which belongs in `private_key` or nowhere")
    return _ed25519(text, "public_key")


def _private(key: SigningKey) -> PyJWK:
    if "PRIVATE" not in key.private_key:
        raise InvalidKey("EdDSA needs a `public_key`, or a `private_key` in PEM")
    return _ed25519(key.private_key, "private_key")


def _ed25519(text: str, what: str) -> PyJWK:
    """From PEM, or from the 32 bytes of a public key in base64url (RFC 8037)."""
    raw = {"kty": "OKP", "crv": "Ed25519", "x": text.strip()}
    try:
        is_pem = text.lstrip().startswith("-----BEGIN")
        jwk = OKPAlgorithm.to_jwk(OKPAlgorithm().prepare_key(text), as_dict=True) if is_pem else raw
        bound = PyJWK(jwk, Algorithm.EDDSA.value)
    except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidKey(f"`{what}` is not an Ed25519 key") from None
    if jwk["crv"] != "Ed25519":
        raise InvalidKey(f"`{what}` is an {jwk['crv']} key; only Ed25519 is supported")
    return bound
