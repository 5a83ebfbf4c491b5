"""Whatever bytes a decoder is given, it reads them or raises one of the errors that are caught together."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from posthouse.kit.malformed import MALFORMED


class Shape(msgspec.Struct):
    """A text, and fields that nobody knows."""

    name: str


DEEP = 100_000
WRONG = [
    b"",
    b"{}",
    b'{"name":1}',
    b'{"name":"\xff"}',
    b'{"name":"\\ud800"}',
    b'{"x":' + b"[" * DEEP + b"]" * DEEP + b',"name":"n"}',
]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_each_way_of_being_wrong_is_among_them(wrong: bytes) -> None:
    with pytest.raises(MALFORMED):
        msgspec.json.decode(wrong, type=Shape)


@given(st.binary(max_size=40))
def test_no_bytes_of_another_format_raise_anything_else(message: bytes) -> None:
    for made in (message, b"\x81\xa4name" + message):
        try:
            read: Any = msgspec.msgpack.decode(made, type=Shape)
        except MALFORMED:
            continue
        assert isinstance(read.name, str)
