"""What an app is known by: the keys that sign its users' tokens, and the API keys of its back end.

Frozen records without I/O. Secrets never appear in a `repr`. An API key is kept only as its hash: it has 256 random
bits, so one round of SHA-256 is enough and a stolen file opens nothing.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from enum import StrEnum

import msgspec

API_KEY_PREFIX = "ph_"
API_KEY_BYTES_MAX = 128
SECRET_BYTES_MIN = 32


class Algorithm(StrEnum):
    """How tokens are signed: with a secret shared with the app, or by the app alone (Ed25519)."""

    HS256 = "HS256"
    EDDSA = "EdDSA"


class InvalidKey(ValueError):
    """A key in the configuration that cannot be used; the message says which and why, never the key."""


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key that signs tokens, named by `kid` within its app.

    HS256 has a `secret`, used as its UTF-8 bytes. EdDSA has a `public_key` (PEM, or 32 bytes as base64url), and a
    `private_key` (PEM) only where this server is to issue tokens. A `retired` key signs no new tokens; those it
    signed hold until they expire or the key is removed.
    """

    kid: str
    algorithm: Algorithm
    secret: str = ""
    public_key: str = ""
    private_key: str = ""
    retired: bool = False

    @property
    def signs(self) -> bool:
        """True when new tokens may be signed with this key here."""
        return not self.retired and bool(self.secret or self.private_key)

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, algorithm={self.algorithm.value}, retired={self.retired})"


class AppKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of one app. `api_key_hashes` are SHA-256 of API keys in hexadecimal."""

    signing: tuple[SigningKey, ...] = ()
    api_key_hashes: tuple[str, ...] = ()


def new_secret() -> str:
    """A fresh secret for HS256 or for resume tokens: 256 random bits as text."""
    return secrets.token_urlsafe(SECRET_BYTES_MIN)


def new_api_key() -> str:
    """A fresh API key. Shown once to whoever asked; only its hash is kept."""
    return API_KEY_PREFIX + secrets.token_urlsafe(32)


def api_key_hash(key: str) -> str:
    """What is kept of an API key."""
    return hashlib.sha256(key.encode()).hexdigest()


class ApiKeys:
    """Finds the app that an API key belongs to."""

    def __init__(self, hashes: Iterable[tuple[str, str]]) -> None:
        """`hashes` are (app, hash of an API key); the same hash for two apps raises `InvalidKey`."""
        self._apps: dict[str, str] = {}
        for app, digest in hashes:
            if self._apps.setdefault(digest.lower(), app) != app:
                raise InvalidKey(f"apps {self._apps[digest.lower()]!r} and {app!r} have an API key in common")

    def app_of(self, key: str) -> str | None:
        """The app whose back end holds `key`, or None. Takes the same time whichever key comes near."""
        if not key.startswith(API_KEY_PREFIX) or len(key) > API_KEY_BYTES_MAX or not key.isascii():
            return None
        digest = api_key_hash(key)
        found = None
        for known, app in self._apps.items():
            if hmac.compare_digest(known, digest):
                found = app
        return found
