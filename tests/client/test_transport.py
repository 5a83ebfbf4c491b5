"""The frames that the SDK writes when it has several messages, as an independent reader of the format sees them."""

import pytest

from posthouse.client.transport import _frame
from posthouse.gateway.wire import TEXT, Reader


@pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 65_535, 65_536, 70_001])
def test_messages_of_every_length_arrive_as_they_were_written(size: int) -> None:
    messages = [b"x" * size, b'{"t":"ping"}', bytes(range(97, 123)) * (size // 26)]
    reader = Reader(message_bytes_max=1 << 20, fragments_max=10, inflates=False)
    reader.feed(b"".join(_frame(message, b"\x00\xff\x12\x80") for message in messages))
    assert [reader.next_event() for _ in messages] == [(TEXT, message) for message in messages]
    assert reader.next_event() is None


def test_what_is_written_is_masked() -> None:
    assert b"hello" not in _frame(b"hello", b"\x01\x02\x03\x04")
