"""Ids are opaque strings; this module says which are valid and derives those that follow from others. Pure."""

import hashlib
import unicodedata
from base64 import b32encode
from functools import lru_cache

from posthouse.model.errors import InvalidId

ID_BYTES_MAX = 128
ACCOUNT_PREFIX = "~"
DIRECT_PREFIX = "="
INTEGER_MAX = 2**53 - 1
"""Integers on the wire stay at or below this, so that JavaScript reads them exactly."""


def check_id(value: str, what: str) -> str:
    """Return `value` when it is a valid id of a `what` (for the message); raise `InvalidId` otherwise."""
    if 1 <= len(value) <= ID_BYTES_MAX and value.isascii() and value.isprintable() and " " not in value:
        return value
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidId(f"{what} id contains a lone surrogate") from None
    if not 1 <= size <= ID_BYTES_MAX:
        raise InvalidId(f"{what} id must be 1 to {ID_BYTES_MAX} bytes of UTF-8, not {size}")
    if value != value.strip():
        raise InvalidId(f"{what} id must not begin or end with white space")
    if not value.isprintable() and any(unicodedata.category(char) in ("Cc", "Cs") for char in value):
        raise InvalidId(f"{what} id must not contain control characters")
    return value


def check_conversation_id(value: str) -> str:
    """As `check_id`, for an id chosen by whoever creates a group or channel: derived ids are refused."""
    check_id(value, "conversation")
    if value[0] in (ACCOUNT_PREFIX, DIRECT_PREFIX):
        raise InvalidId(f"a conversation id must not begin with {value[0]!r}: such ids are derived")
    return value


def account_id(user: str) -> str:
    """The id of a user's account log."""
    return ACCOUNT_PREFIX + user


def account_user(log: str) -> str | None:
    """The user whose account log `log` is, or None when it is a conversation."""
    return log[1:] if log.startswith(ACCOUNT_PREFIX) else None


def direct_id(first: str, second: str) -> str:
    """The id of the direct conversation of two users: the same whichever is named first."""
    low, high = sorted((first, second))
    digest = hashlib.blake2b(f"{len(low.encode())}:{low}{high}".encode(), digest_size=20).digest()
    return DIRECT_PREFIX + b32encode(digest).decode().lower()


@lru_cache(maxsize=16_384)
def shard_of(app: str, log: str, shards: int) -> int:
    """The logical shard that owns a log, in 0 … shards-1. An account log lies where its user's data lies.

    What is no id has one as well: whoever is asked there answers that there is no such thing.
    """
    text = f"{len(app)}:{app}{log}".encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") % shards
