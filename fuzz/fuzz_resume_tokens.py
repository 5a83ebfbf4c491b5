"""Fuzzes resume tokens: what a genuine one says, or `ResumeRefused`, also for those another version has signed."""

import hmac
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.auth.resume import ResumeRefused, ResumeTokens, Resumption

SIGNED = b"\x01"
"""Inputs that begin so are a payload to be signed with the right secret; others are tokens as they are."""

SECRET = "the secret that all nodes of this cluster share"
NOW_S = 1_767_225_600
_TOKENS = ResumeTokens(SECRET)
_GOOD = Resumption(
    app="acme",
    user="ann",
    device="phone",
    session="n1.1",
    node="n1",
    epoch="e1",
    issued_s=NOW_S,
    expires_s=NOW_S + 60,
)


def check(data: bytes) -> None:
    token = _signed(data[1:]) if data.startswith(SIGNED) else data.decode("utf-8", "replace")
    try:
        said = _TOKENS.verify(token, app="acme", user="ann", device="phone", now_s=NOW_S)
    except ResumeRefused:
        return
    assert (said.app, said.user, said.device) == ("acme", "ann", "phone")
    assert said.expires_s > NOW_S
    assert data.startswith(SIGNED) or said == _GOOD, "a token that nobody has signed"


def _signed(payload: bytes) -> str:
    mac = hmac.digest(SECRET.encode(), b"posthouse.resume.v1\0" + payload, "sha256")
    return urlsafe_b64encode(mac + payload).rstrip(b"=").decode()


def _payload(token: str) -> bytes:
    return urlsafe_b64decode(token + "=" * (-len(token) % 4))[32:]


SEEDS = [
    _TOKENS.issue(_GOOD).encode(),
    _TOKENS.issue(
        Resumption(
            app="acme", user="ben", device="phone", session="", node="", epoch="", issued_s=0, expires_s=1
        )
    ).encode(),
    SIGNED + _payload(_TOKENS.issue(_GOOD)),
    b"",
    b"AAAA" * 20,
]
WORDS = [
    b"=",
    b"-",
    b"_",
    b"+",
    b"\x00",
    b"\xff",
    b"\xa3ann",
    b"\xc0",
    b"\x97",
    b"\x99",
    b"\xdd\xff\xff\xff\xff",
    b"\xcf" + b"\xff" * 8,
]

FUZZER = Fuzzer("resume_tokens", check, ("posthouse.auth.resume",), SEEDS, WORDS, size_max=3_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
