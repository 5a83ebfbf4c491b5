"""Inputs that are worth changing: the golden vectors of the specification."""

from spec.golden import bodies, frames, invalid
from spec.golden.notation import Vector, read

JSON_WORDS = [
    b"{", b"}", b"[", b"]", b'{"a":', b'":', b",", b'"', b" ", b"\n", b"\x00", b"[[],", b"null", b"true", b"NaN",
    b"1e999", b"\\", b"\\u0000", b"\\\\u0000", b"\\ud800", b"\\udc00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"\xf0\x9f\x98\x80", b'"t":"send"', b'"t":"hello"', b'"t":"fetch"', b'"t":"x"', b'"body":{}', b'"ref":1',
]  # fmt: skip
SIZE_MAX = 40_000


def _bytes_of(document: Vector, what: str) -> list[bytes]:
    return [data for each in document[what] if len(data := read(each)) <= SIZE_MAX]


def client_messages() -> list[bytes]:
    """Valid and invalid frames of clients."""
    valid = {
        **frames.document(),
        "frames": [each for each in frames.document()["frames"] if each["from"] == "client"],
    }
    return _bytes_of(valid, "frames") + _bytes_of(invalid.document(), "frames")


def server_messages() -> list[bytes]:
    """Valid frames of servers."""
    document = frames.document()
    return _bytes_of({"frames": [each for each in document["frames"] if each["from"] == "server"]}, "frames")


def entry_bodies() -> list[bytes]:
    """Valid and invalid bodies of entries."""
    return _bytes_of(bodies.document(), "bodies")
