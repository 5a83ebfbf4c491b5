"""Resume tokens: what lets a session go on elsewhere without asking the database. No I/O; the caller passes the time.

Signed, not encrypted: whoever holds one can read it, nobody can make or change one. Bound to app, user and device, so
that a stolen token is useless without an access token of the same user.
"""

import hashlib
import hmac
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

import msgspec

from posthouse.auth.keys import SECRET_BYTES_MIN, InvalidKey
from posthouse.protocol.codes import Code

RESUME_TOKEN_BYTES_MAX = 2048
_MAC_BYTES = 32
_PURPOSE = b"posthouse.resume.v1\0"
"""Signed along, so that nothing else signed with the same secret can ever pass for a resume token."""


class ResumeRefused(Exception):
    """The token is malformed, forged, expired, or another user's or device's."""

    code: Code = Code.RESUME_REFUSED


class Resumption(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a resume token says: which session, on which node, in which epoch of the log."""

    app: str
    user: str
    device: str
    session: str
    node: str
    epoch: str
    issued_s: int
    expires_s: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Resumption).decode


class ResumeTokens:
    """Issues and verifies resume tokens with the cluster's secret, which all nodes share."""

    def __init__(self, secret: str) -> None:
        if len(secret.encode()) < SECRET_BYTES_MIN:
            raise InvalidKey(f"the resume secret must have at least {SECRET_BYTES_MIN} bytes")
        self._secret = secret.encode()

    def issue(self, resumption: Resumption) -> str:
        """The token, as compact text for URLs and JSON."""
        payload = _encode(resumption)
        return urlsafe_b64encode(self._mac(payload) + payload).rstrip(b"=").decode()

    def verify(self, token: str, *, app: str, user: str, device: str, now_s: float) -> Resumption:
        """What the token says, if it is genuine, in time, and this user's and device's; raises `ResumeRefused`."""
        resumption = self._genuine(token)
        if (resumption.app, resumption.user, resumption.device) != (app, user, device):
            raise ResumeRefused("the resume token belongs to another user or device")
        if resumption.expires_s <= now_s:
            raise ResumeRefused("the resume token has expired")
        return resumption

    def _genuine(self, token: str) -> Resumption:
        if len(token) > RESUME_TOKEN_BYTES_MAX:
            raise ResumeRefused("the resume token is too long")
        try:
            raw = b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        except (Base64Error, ValueError):
            raise ResumeRefused("the resume token is malformed") from None
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise ResumeRefused("the resume token is not genuine")
        try:
            return _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ResumeRefused("the resume token is of another version") from None

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, _PURPOSE + payload, hashlib.sha256)
