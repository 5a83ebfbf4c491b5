"""The frames that the SDK writes when it has several messages, as an independent reader of the format sees them.

And what becomes of a connection that nobody wants any more in the moment in which it is made.
"""

import asyncio
from typing import cast

import pytest

from posthouse.client import transport
from posthouse.client.transport import ConnectFailed, Receiver, Transport, _frame, connect
from posthouse.gateway.wire import TEXT, Reader
from posthouse.kit.tasks import start


@pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 65_535, 65_536, 70_001])
def test_messages_of_every_length_arrive_as_they_were_written(size: int) -> None:
    messages = [b"x" * size, b'{"t":"ping"}', bytes(range(97, 123)) * (size // 26)]
    reader = Reader(message_bytes_max=1 << 20, fragments_max=10, inflates=False)
    reader.feed(b"".join(_frame(message, b"\x00\xff\x12\x80") for message in messages))
    assert [reader.next_event() for _ in messages] == [(TEXT, message) for message in messages]
    assert reader.next_event() is None


def test_what_is_written_is_masked() -> None:
    assert b"hello" not in _frame(b"hello", b"\x01\x02\x03\x04")


class Opened(Transport):
    """A socket that has just been opened."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("fails", [False, True])
async def test_who_is_cancelled_as_the_socket_opens_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Neither a socket that nobody has, nor an error that nobody hears of."""
    unheard: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    receiver = cast("Receiver", None)
    opened = Opened(receiver, transport._Attempt())

    async def open_at_once(*_: object) -> Transport:
        loop.call_soon(connecting[0].cancel)
        if fails:
            raise ConnectFailed("too late")
        return opened

    monkeypatch.setattr(transport, "_open", open_at_once)
    connecting = [start(connect("ws://here", receiver, None))]
    with pytest.raises(asyncio.CancelledError):
        await connecting[0]
    connecting.clear()
    await asyncio.sleep(0)
    assert opened.aborted is not fails
    assert unheard == []
