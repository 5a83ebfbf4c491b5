"""A socket under anything that either end or the network may do, held against another library's client."""

import asyncio
from typing import Any, cast

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from posthouse.gateway.connections import Connections, SocketLimits
from posthouse.gateway.websocket import Socket, encode_frame
from posthouse.kit.clock import ManualClock

LIMITS = SocketLimits(message_bytes_max=1_000, fragments_max=4, control_frames_per_s_max=1_000)
TEXTS = st.sampled_from(["", "x", "grüße", "x" * 125, "x" * 126, "x" * 1_000])
WRONG = {
    "no mask": (b"\x81\x00", 1002),
    "an opcode that nobody knows": (b"\x83\x80\0\0\0\0", 1002),
    "bytes": (b"\x82\x80\0\0\0\0", 1003),
    "no UTF-8": (b"\x81\x81\0\0\0\0\xff", 1007),
    "a byte too many": (b"\x81\xfe\x03\xe9\0\0\0\0", 1009),
}


class Wire:
    """The transport: what the server has written, and whether it wants to write more."""

    def __init__(self) -> None:
        self.written = b""
        self.is_ending = False

    def write(self, data: bytes) -> None:
        assert not self.is_ending, "something is written to a connection that is being closed"
        self.written += data

    def end(self) -> None:
        self.is_ending = True

    abort = close = write_eof = end

    def can_write_eof(self) -> bool:
        return True

    def get_extra_info(self, name: str) -> Any:
        return None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass


class Connected(RuleBasedStateMachine):
    """The client is `websockets` without its I/O; bytes in either direction wait until a rule passes them on."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire()
        connections = Connections(LIMITS, ManualClock())
        self.socket = Socket(cast("asyncio.Transport", self.wire), connections, deflates=False)
        self.socket.opened(self)
        self.client = ClientProtocol(parse_uri("ws://server/"), state=State.OPEN, max_size=None)
        self.under_way = b""
        self.said: list[str] = []
        self.told: list[str] = []
        self.heard: list[str] = []
        self.pings: list[bytes] = []
        self.codes: list[int] = []
        self.first_code = 0
        """Of the first close, or 1006, as soon as the server knows of it."""

    # What the socket calls

    def received(self, message: bytes) -> None:
        assert not self.first_code, "it hears something behind a close"
        self.heard.append(message.decode())

    def overflowed(self) -> None:
        assert not self.first_code

    def closed(self, code: int) -> None:
        self.codes.append(code)

    # The client

    @precondition(lambda self: self.client.state is State.OPEN)
    @rule(text=TEXTS, pieces=st.integers(1, 4), pings=st.booleans())
    def say(self, text: str, pieces: int, pings: bool) -> None:
        """A message in so many fragments, perhaps with pings between them."""
        data = text.encode()
        size = -(-len(data) // pieces)
        for at in range(pieces):
            part, is_last = data[at * size : (at + 1) * size], at == pieces - 1
            (self.client.send_continuation if at else self.client.send_text)(part, is_last)
            if pings:
                self.pings.append(b"%d" % len(self.pings))
                self.client.send_ping(self.pings[-1])
        self.said.append(text)

    @precondition(lambda self: self.client.state is State.OPEN and len(self.said) > 2)
    @rule(code=st.sampled_from([1000, 1001, 4000]))
    def take_leave(self, code: int) -> None:
        self.client.send_close(code)

    # The network

    @precondition(lambda self: not self.codes)
    @rule(share=st.sampled_from([0.1, 0.5, 1.0, 1.0]))
    def pass_to_server(self, share: float) -> None:
        self.under_way += b"".join(self.client.data_to_send())
        size = round(len(self.under_way) * share)
        piece, self.under_way = self.under_way[:size], self.under_way[size:]
        self.socket.data_received(piece)
        self.first_code = self.first_code or self.socket._code

    @rule(share=st.sampled_from([0.1, 1.0]))
    def pass_to_client(self, share: float) -> None:
        size = round(len(self.wire.written) * share)
        piece, self.wire.written = self.wire.written[:size], self.wire.written[size:]
        self.client.receive_data(piece)

    @precondition(lambda self: not self.codes and (self.wire.is_ending or len(self.said) > 4))
    @rule(error=st.sampled_from([None, ConnectionResetError(), TimeoutError()]))
    def lose(self, error: Exception | None) -> None:
        self.socket.connection_lost(error)
        self.first_code = self.first_code or 1006

    # The server

    @rule(text=TEXTS)
    def tell(self, text: str) -> None:
        before = self.wire.written
        self.socket.send(encode_frame(text.encode()))
        assert (self.wire.written == before) == bool(self.first_code)
        if not self.first_code:
            self.told.append(text)

    @precondition(lambda self: len(self.said) > 2)
    @rule()
    def close(self) -> None:
        """While the client goes on talking; the first close counts."""
        self.socket.close(4001, "go elsewhere")
        self.first_code = self.first_code or 4001

    @precondition(lambda self: not self.codes and len(self.said) > 2)
    @rule(how=st.sampled_from(["abort", "expire", "eof_received", "pause_writing", *WRONG]))
    def trouble(self, how: str) -> None:
        if how in WRONG:
            self.be_wronged(*WRONG[how])
        else:
            getattr(self.socket, how)()
            self.first_code = self.first_code or (0 if how == "pause_writing" else 1006)

    def be_wronged(self, frame: bytes, code: int) -> None:
        """All that the client had said comes first."""
        self.pass_to_server(1.0)
        self.socket.data_received(frame)
        self.first_code = self.first_code or code

    # What holds at all times

    @invariant()
    def what_is_heard_is_what_was_said_in_order(self) -> None:
        assert self.heard == self.said[: len(self.heard)]

    @invariant()
    def another_library_understands_all_that_is_written(self) -> None:
        assert self.client.parser_exc is None

    @invariant()
    def the_end_is_told_once_with_the_code_of_the_first_close(self) -> None:
        assert self.codes in ([], [self.first_code])

    def teardown(self) -> None:
        """What was written is what was told and a pong for each ping, and at most one close behind it all."""
        self.pass_to_client(1.0)
        frames = [event for event in self.client.events_received() if isinstance(event, Frame)]
        texts = [bytes(frame.data).decode() for frame in frames if frame.opcode is Opcode.TEXT]
        pongs = [bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG]
        closes = [frame for frame in frames if frame.opcode is Opcode.CLOSE]
        assert texts == self.told
        assert pongs == self.pings[: len(pongs)]
        assert closes in ([], frames[-1:])
        assert not closes or int.from_bytes(closes[0].data[:2], "big") == self.first_code


TestConnected = Connected.TestCase
TestConnected.settings = settings(max_examples=150, stateful_step_count=40)
