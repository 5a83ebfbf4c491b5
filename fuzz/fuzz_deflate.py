"""Fuzzes permessage-deflate: messages within the limit or a documented error, and offers that are answered or not."""

import re
import sys
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.gateway.deflate import BadDeflate, InflatesTooLarge, deflate, inflate, negotiate

BYTES_MAX = 10_000


def check(data: bytes) -> None:
    _check_inflate(data)
    assert inflate(deflate(data), len(data)) == data
    _check_negotiate(data.decode("latin-1"))


def _check_inflate(payload: bytes) -> None:
    try:
        message = inflate(payload, BYTES_MAX)
    except BadDeflate:
        return
    except InflatesTooLarge:
        assert len(zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff", BYTES_MAX + 1)) > BYTES_MAX
        return
    assert len(message) <= BYTES_MAX
    assert message == zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")


def _check_negotiate(offers: str) -> None:
    answer = negotiate(offers)
    if answer is not None:
        assert re.fullmatch(ANSWER, answer), answer
        assert "permessage-deflate" in offers


ANSWER = r"permessage-deflate; server_no_context_takeover; client_no_context_takeover(; server_max_window_bits=1[345])?"


def deflated(message: bytes, level: int = 6) -> bytes:
    compressor = zlib.compressobj(level, wbits=-15)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


SEEDS = [
    b"",
    deflated(b""),
    deflated(b'{"t":"ping"}'),
    deflated(b'{"t":"ping"}', 0),
    deflated(b"x" * BYTES_MAX),
    deflated(b"x" * (BYTES_MAX + 1)),
    deflated(b"bomb" * 1_000_000),
    deflated(bytes(range(256)) * 30),
    deflated(b"one") + deflated(b"two"),
    b"permessage-deflate",
    b"permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate",
    b'x-webkit-deflate-frame, permessage-deflate; server_max_window_bits="15"; client_no_context_takeover',
]
WORDS = [
    b"\x00\x00\xff\xff",
    b"\x03\x00",
    b"\x01\x00\x00\xff\xff",
    b"\x4b\x4c\x4c\x4c",
    b",",
    b";",
    b"=",
    b'"',
    b" ",
    b"8",
    b"15",
    b"16",
    b"permessage-deflate",
    b"server_no_context_takeover",
    b"client_max_window_bits",
    b"server_max_window_bits=",
    b"\xb2",
]

FUZZER = Fuzzer("deflate", check, ("posthouse.gateway.deflate",), SEEDS, WORDS)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
