"""Where routes lie: logs fall into buckets, and each gateway has one set for each bucket. Pure.

The set of a gateway and its owner carry the bucket in braces, which puts both into one hash slot of a Cluster.
"""

import zlib
from collections.abc import Iterable
from typing import Final

from posthouse.cache.base import LogKey

BUCKETS: Final = 64
MARKER: Final = b""
"""The member that says that a set is whole. No log is written so."""


def member(key: LogKey) -> bytes:
    """A log as it stands in a set. Ids have no control characters, so these two cannot run together."""
    app, log = key
    return f"{app}\0{log}".encode()


def bucket_of(written: bytes) -> int:
    """The bucket of a log, as written by `member`: the same on every node."""
    return zlib.crc32(written) % BUCKETS


def set_key(prefix: str, bucket: int, gateway: str) -> bytes:
    """The set of logs of one gateway in one bucket."""
    return f"{prefix}:routes:{{{bucket}}}:{gateway}".encode()


def owner_key(prefix: str, bucket: int, gateway: str) -> bytes:
    """Who wrote that set last, and which change it was: "incarnation number"."""
    return f"{prefix}:routes-owner:{{{bucket}}}:{gateway}".encode()


def by_bucket(keys: Iterable[LogKey]) -> dict[int, list[LogKey]]:
    """The logs of each bucket, once each, in the order given."""
    sorted_: dict[int, list[LogKey]] = {}
    for key in dict.fromkeys(keys):
        sorted_.setdefault(bucket_of(member(key)), []).append(key)
    return sorted_
