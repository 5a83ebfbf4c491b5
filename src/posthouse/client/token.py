"""Reading an access token's own dates, without verifying it: that is the server's business. Pure."""

import base64
import binascii

import msgspec

RENEW_BEFORE_S_MAX = 60.0
RENEW_BEFORE_SHARE = 0.2
"""A token is renewed in the last fifth of its life, and at most so long before its end."""


class Claims(msgspec.Struct):
    """The claims that the SDK looks at; `exp` in seconds since 1970."""

    sub: str = ""
    exp: float = 0.0


_decode = msgspec.json.Decoder(Claims, strict=False).decode


def read_claims(token: str) -> Claims:
    """The claims of a JWT; of anything else, none."""
    parts = token.split(".")
    if len(parts) != 3:
        return Claims()
    try:
        return _decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return Claims()


def renew_in_s(token: str, now_ms: int) -> float | None:
    """Seconds until the token should be renewed, or None when it does not say when it ends."""
    expires_s = read_claims(token).exp
    if expires_s <= 0:
        return None
    left_s = expires_s - now_ms / 1000
    return max(0.0, left_s - min(RENEW_BEFORE_S_MAX, left_s * RENEW_BEFORE_SHARE))
