"""Fuzzes what a session does with a client's messages: each send is answered once, and nothing follows a goodbye."""

import sys
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS, client_messages, entry_bodies
from posthouse.gateway.admission import Admission, Rates
from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.session import Host, Session
from posthouse.gateway.websocket import Frame as WireFrame, Socket
from posthouse.kit.clock import ManualClock
from posthouse.protocol.codec import BadFrame, decode_client, decode_server
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import (
    Ack,
    ClientFrame,
    Done,
    Error,
    Fetch,
    Goaway,
    Hello,
    List,
    Renew,
    Send,
    SetCursors,
)
from posthouse.protocol.phases import Phase
from posthouse.storage.base import Append, Appended, Refused

BETWEEN = b"\n"
"""Stands between two messages of one input; JSON needs no line breaks."""


class Recorder:
    """A socket that keeps what was written to it."""

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.code = 0

    def send(self, frame: WireFrame) -> None:
        assert not self.code, "something is sent after the close"
        size = frame.plain[1]
        header_bytes = 2 if size < 126 else 4 if size == 126 else 10
        self.frames.append(decode_server(frame.plain[header_bytes:]))

    def close(self, code: int, reason: str = "") -> None:
        assert not self.code, "it is closed twice"
        self.code = code


class World:
    """The gateway of one session: commits at once, refuses now and then, and answers requests."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.limits = GatewayLimits()
        self.admission = Admission(Rates(frames_per_connection_burst=100_000, sends_per_user_burst=50), 0.0)
        self.commit = self
        self.codes: list[int] = []
        self._submitted = 0

    def submit(self, append: Append, settle: Any, lane: Any, number: int, origin: str) -> None:
        self._submitted += 1
        refused: dict[int, Code] = {3: Code.NOT_MEMBER, 5: Code.UNAVAILABLE}
        code = refused.get(self._submitted % 7)
        if not lane.admits(append.conv, number):
            settle(append, Refused(Code.HELD_BACK, "an earlier send must be settled first"))
        elif code is None:
            lane.settled(append.conv, number)
            settle(append, Appended(self._submitted, 1, self._submitted))
        else:
            lane.refused(append.conv, append.client_id, number, code)
            settle(append, Refused(code, "the test wants it so"))

    def count(self, code: int) -> None:
        self.codes.append(code)

    def enter(self, session: Session, hello: Hello) -> None:
        session.phase = Phase.LIVE

    def request(self, session: Session, frame: ClientFrame) -> None:
        assert isinstance(frame, Fetch | List | Renew | SetCursors)
        session.refuse(Code.NOT_MEMBER, "the test wants it so", ref=frame.ref)

    def vacate(self, session: Session) -> None:
        pass

    def forget(self, session: Session) -> None:
        pass


def check(data: bytes) -> None:
    world, socket = World(), Recorder()
    session = Session(cast("Host", world), cast("Socket", socket), 0.0)
    session.user, session.device, session.app = "ann", "phone", "default"
    session.phase = Phase.NEW if data.startswith(BETWEEN) else Phase.LIVE
    due = 0
    for message in data.split(BETWEEN):
        if _is_text(message) and not socket.code:
            due += session.phase is Phase.LIVE and _is_answered(message)
            session.received(message)
    session.closed(1006)
    assert None not in socket.frames, "the server said something that clients do not know"
    answers = [frame for frame in socket.frames if isinstance(frame, Ack | Error | Done)]
    assert len(answers) == due - (session_ended_by_last(socket) and due > len(answers)), (due, answers)
    goodbyes = [frame for frame in socket.frames if isinstance(frame, Goaway)]
    assert len(goodbyes) == bool(socket.code)
    if goodbyes:
        assert goodbyes[0] is socket.frames[-1]
        assert goodbyes[0].code == socket.code
    assert session.in_flight == 0


def session_ended_by_last(socket: Recorder) -> bool:
    """A flood of frames may end the session instead of being answered."""
    return socket.code in (Code.CONNECTION_RATE, Code.FLOOD)


def _is_text(message: bytes) -> bool:
    """The WebSocket lets nothing else through."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return len(message) <= GatewayLimits().frame_bytes_max


def _is_answered(message: bytes) -> bool:
    try:
        return isinstance(decode_client(message), Send | Fetch | List | Renew | SetCursors)
    except BadFrame:
        return False


_SENDS = [message for message in client_messages() if b'"send"' in message and len(message) < 1_000]
_OTHERS = [message for message in client_messages() if len(message) < 1_000]
_ENVELOPE = b'{"t":"send","conv":"c","client_id":"k","made_at":1767225600000,"body":%s}'
SEEDS = [
    *client_messages(),
    *(_ENVELOPE % body for body in entry_bodies()),
    BETWEEN.join(_SENDS[:3] * 5),
    BETWEEN.join(_OTHERS[:13]),
    BETWEEN + BETWEEN.join(_OTHERS[:13]),
]

MODULES = (
    "posthouse.gateway.session",
    "posthouse.gateway.admission",
    "posthouse.model.",
    "posthouse.protocol.codec",
)
FUZZER = Fuzzer(
    "sessions",
    check,
    MODULES,
    SEEDS,
    [*JSON_WORDS, BETWEEN, BETWEEN + _SENDS[0] + BETWEEN, BETWEEN + b'{"t":"ping"}'],
)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
