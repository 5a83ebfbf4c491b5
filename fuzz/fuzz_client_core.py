"""Fuzzes what the SDK does with a server's messages: no order of them disturbs it, and it delivers in order."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS, server_messages
from posthouse.client.connection import State
from posthouse.client.core import Core
from posthouse.client.endpoints import parse_addresses
from posthouse.client.errors import SendRefused
from posthouse.client.events import ConversationLeft, ConversationReset, EntryReceived, Event, Reset
from posthouse.client.host import Saved, Sent, Settings
from posthouse.client.outbox import Item, item_of
from posthouse.kit.clock import ManualClock
from posthouse.protocol.codec import decode_client

BETWEEN = b"\n"
"""Stands between two messages of one input, after each of which a little time passes."""
PAUSE_S = 0.3


class Application:
    """What the core tells; there is always room."""

    def __init__(self) -> None:
        self.applied: dict[str, int] = {}
        self.settled: list[str] = []

    def emit(self, event: Event) -> bool:
        if isinstance(event, EntryReceived):
            assert event.seq > self.applied.get(event.conv, 0), f"entry {event.seq} is told out of order"
            self.applied[event.conv] = event.seq
        elif isinstance(event, Reset | ConversationReset | ConversationLeft):
            self.applied.clear()
        return True

    def settle(self, item: Item, outcome: Sent | SendRefused) -> None:
        self.settled.append(item.send.client_id)

    def note(self, log: str, seq: int | None) -> None:
        pass

    def forget_positions(self) -> None:
        """Kept nowhere."""

    def remember(self, saved: Saved) -> None:
        pass


def check(data: bytes) -> None:
    application, clock = Application(), ManualClock()
    core = Core(
        Settings(), parse_addresses("ws://a"), clock, lambda: 0.5, application, Saved(device="d", user="ann")
    )
    core.start()
    for at in range(3):
        core.outbox.reserve()
        core.post(item_of("lounge", f"k{at}", 1, b"{}", "message", 0, ()))
    _connect(core)
    for message in data.split(BETWEEN)[:200]:
        if core.connection.state in (State.LIVE, State.AUTHENTICATING):
            core.received(message)
        for said in core.flush():
            decode_client(said)
        clock._elapsed += PAUSE_S
        core.tick()
        _connect(core)
    assert len(application.settled) == len(set(application.settled)), "a send was settled twice"
    core.close()


def _connect(core: Core) -> None:
    """As far as it wants to."""
    core.set_out("token")
    for url in core.dials():
        if core.dialled(url):
            core.opened()


_MESSAGES = [message for message in server_messages() if len(message) < 2_000]
_WELCOME = next(message for message in _MESSAGES if b'"welcome"' in message)
SEEDS = [
    _WELCOME,
    BETWEEN.join(_MESSAGES),
    *(BETWEEN.join((_WELCOME, message, message)) for message in _MESSAGES),
]
WORDS = [
    *JSON_WORDS, BETWEEN, BETWEEN + _WELCOME + BETWEEN, *(BETWEEN + message + BETWEEN for message in _MESSAGES),
    b'"conv":"lounge"', b'"conv":"~ann"', b'"seq":', b'"client_id":"k1"', b'"ref":1', b'"ref":2', b'"resumed":true',
]  # fmt: skip

MODULES = ("posthouse.client.",)
FUZZER = Fuzzer("client_core", check, MODULES, SEEDS, WORDS, size_max=20_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
