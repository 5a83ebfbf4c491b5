"""Operators' keys: what opens the operator API of every app's cluster. No I/O.

One key follows from the secret that the nodes share anyway, so that a cluster has one without anybody choosing it and
nodes need no more to know of each other. Further ones are configured by their hashes, as API keys are.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from posthouse.auth.keys import API_KEY_BYTES_MAX, api_key_hash

OPERATOR_KEY_PREFIX = "pho_"
_PURPOSE = b"posthouse.operator.v1\0"


def operator_key(resume_secret: str) -> str:
    """The key that follows from the cluster's secret. It cannot be turned back into the secret."""
    digest = hmac.digest(resume_secret.encode(), _PURPOSE, hashlib.sha256)
    return OPERATOR_KEY_PREFIX + urlsafe_b64encode(digest).rstrip(b"=").decode()


class OperatorKeys:
    """Knows an operator's key when it sees one."""

    def __init__(self, hashes: Iterable[str]) -> None:
        self._hashes = tuple(digest.lower() for digest in hashes)

    def opens(self, key: str) -> bool:
        """True for a known key. Takes the same time whichever key comes near."""
        if not key.startswith(OPERATOR_KEY_PREFIX) or len(key) > API_KEY_BYTES_MAX or not key.isascii():
            return False
        digest, found = api_key_hash(key), False
        for known in self._hashes:
            found = hmac.compare_digest(known, digest) or found
        return found
