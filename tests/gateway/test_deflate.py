"""permessage-deflate: what is agreed to, and that neither direction can be made to cost too much."""

import tracemalloc
import zlib

import pytest
from hypothesis import given, strategies as st

from posthouse.gateway.deflate import BadDeflate, InflatesTooLarge, deflate, inflate, negotiate

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate", AGREED),
        ("permessage-deflate; client_max_window_bits", AGREED),
        ('permessage-deflate; client_max_window_bits="10"', AGREED),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", AGREED),
        ("permessage-deflate; server_max_window_bits=15", f"{AGREED}; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=13", f"{AGREED}; server_max_window_bits=13"),
        ("x-other; a=1, permessage-deflate", AGREED),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", AGREED),
        ("permessage-deflate; server_max_window_bits=12", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=015", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate;", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
    ],
)
def test_the_first_offer_that_can_be_kept_is_accepted(offers: str, answer: str | None) -> None:
    assert negotiate(offers) == answer


def test_a_message_survives_both_directions() -> None:
    message = "The quick brown fox… ".encode() * 100
    assert len(deflate(message)) < len(message) / 4
    assert inflate(deflate(message), len(message)) == message


def test_a_message_one_byte_too_large_is_refused() -> None:
    with pytest.raises(InflatesTooLarge):
        inflate(deflate(b"x" * 1001), 1000)


def test_a_bomb_costs_no_more_memory_than_the_limit_allows() -> None:
    bomb = deflate(b"\0" * 50_000_000)
    assert len(bomb) < 65_536
    tracemalloc.start()
    with pytest.raises(InflatesTooLarge):
        inflate(bomb, 65_536)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_bytes_that_are_no_deflate_stream_are_refused() -> None:
    with pytest.raises(BadDeflate):
        inflate(b"\xff\xff\xff\xff", 1000)


def test_a_stream_that_ends_with_a_final_block_is_read() -> None:
    """RFC 7692, 7.2.3.4."""
    compressor = zlib.compressobj(wbits=-15)
    assert inflate(compressor.compress(b"Hello") + compressor.flush() + b"\x00", 1000) == b"Hello"


@given(st.text(alphabet='a1=;, "²') | st.text())
def test_any_offer_is_answered(offers: str) -> None:
    assert negotiate(
        f"permessage-deflate; {offers}, permessage-deflate; server_max_window_bits={offers}"
    ) in (None, AGREED, f"{AGREED}; server_max_window_bits={offers}")
