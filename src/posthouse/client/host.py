"""What the pure core and the shell around it say to each other: settings, orders, outcomes. Pure."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from posthouse.client.connection import Pace
from posthouse.client.errors import SendRefused
from posthouse.client.events import Event
from posthouse.client.outbox import Item


class Order(Enum):
    """What only the shell can do."""

    CONNECT = "connect"
    """Get a token, and a list of endpoints if there is none yet, then call `set_out` or `failed`."""
    DIAL = "dial"
    """Begin to connect to the endpoints that `dials` names; call `dialled` or `dial_failed` for each."""
    HANG_UP = "hang up"
    """Give up all attempts under way."""
    LOOK = "look"
    """Ask which endpoints there are, and call `learn`."""
    DROP = "drop"
    """Abort the socket, if there is one."""
    REJECT = "reject"
    """Close the socket as one that broke the protocol, and hear nothing more of it."""
    CLOSE = "close"
    """Close the socket politely; the client is at its end."""
    RENEW = "renew"
    """Get a new token from the application and call `renewed` or `renewal_failed`."""


class Sent(NamedTuple):
    """A message is in its conversation's log, durably, as entry `seq`. `at_ms` is the server's time, for display."""

    conv: str
    seq: int
    at_ms: int
    ordinal: int
    client_id: str


class Saved(NamedTuple):
    """What a store keeps of a client besides its outbox."""

    user: str = ""
    device: str = ""
    epoch: str = ""
    resume_token: str = ""
    clock_offset_ms: int = 0
    listed: bool = False
    """Every conversation has its position. Until then positions are not to be trusted after a restart."""
    positions: Mapping[str, int] = MappingProxyType({})


class Host(Protocol):
    """What the core tells at once, without waiting for the shell to look."""

    def emit(self, event: Event) -> bool:
        """Hand an event to the application. False: no room; an entry then counts as not delivered."""
        ...

    def settle(self, item: Item, outcome: Sent | SendRefused) -> None:
        """A send has come to its end."""
        ...

    def note(self, log: str, seq: int | None) -> None:
        """A log's delivery begins after `seq` (None: the log is forgotten)."""
        ...

    def forget_positions(self) -> None:
        """All that were noted before are void."""
        ...

    def remember(self, saved: Saved) -> None:
        """The session's facts changed; `positions` is not filled in."""
        ...


class Settings(NamedTuple):
    """What the core may be told."""

    pace: Pace = Pace()
    background_heartbeat_s: int = 30
    outbox_messages_max: int = 1_000
    receipts: bool = True
    catch_up_all: bool = False
    """On the first start, deliver each conversation from where the user joined instead of from now."""
    token_is_fixed: bool = True
    sdk: str = ""
