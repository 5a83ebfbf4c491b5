"""The servers that an address names: what each has last said, who of them is the primary, how far a replica is behind.

Pure. All times are seconds of the watcher's own monotonic clock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

Role = Literal["unknown", "primary", "standby", "away"]

AWAY_S_MAX = 3.0
"""A primary that has not answered for so long is not waited for any more."""


class Host(NamedTuple):
    """One server: its name for messages, and an address that leads to it alone."""

    name: str
    dsn: str


class Look(NamedTuple):
    """What a server says of itself. `timeline` is known of primaries only, and 0 where the server does not tell.

    `position` is how far its log is written, or replayed on a standby; in bytes.
    """

    standby: bool
    read_only: bool
    timeline: int = 0
    position: int | None = None


@dataclass(frozen=True, slots=True)
class HostState:
    """What is known of one host. `lag_s` is of standbys; `why` says in words what is wrong, if anything is."""

    host: Host
    role: Role = "unknown"
    look: Look | None = None
    since: float = 0.0
    lag_s: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        return f"{self.host.name} is {self.why or _NAMED[self.role]}"


_NAMED = {"unknown": "not asked yet", "primary": "a primary", "standby": "a standby", "away": "away"}


class Choice(NamedTuple):
    """The primary, or None while there is none to be trusted; and one sentence of reason."""

    host: Host | None
    why: str


def place_of(dsn: str) -> str:
    """Hosts and database of an address, without user and password: for messages."""
    parts = urlsplit(dsn)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def hosts_of(dsn: str) -> tuple[Host, ...]:
    """The hosts that an address names; of one that leaves them to the driver, the address as it is."""
    parts = urlsplit(dsn)
    user, at, places = parts.netloc.rpartition("@")
    names = [name for name in places.split(",") if name]
    if len(names) < 2:
        return (Host(place_of(dsn), dsn),)
    return tuple(
        Host(f"{name}{parts.path}", urlunsplit(parts._replace(netloc=f"{user}{at}{name}"))) for name in names
    )


def choose_primary(states: Sequence[HostState], current: Host | None, timeline: int, now: float) -> Choice:
    """Who is the primary. `current` has been until now; `timeline` is the highest that was ever seen.

    Each promotion begins a timeline. A primary of an older one was replaced while it was frozen or cut off.
    """
    primaries = [each for each in states if each.role == "primary" and _timeline(each) >= timeline]
    if primaries:
        best = max(primaries, key=lambda each: (_timeline(each), _writable(each), each.host == current))
        return Choice(best.host, f"{best.host.name} is the primary of timeline {_timeline(best)}")
    kept = next((each for each in states if each.host == current), None)
    if kept is not None and kept.role in ("away", "unknown") and now - kept.since < AWAY_S_MAX:
        return Choice(current, f"{kept}, for less than {AWAY_S_MAX:g} s")
    replaced = (
        f"{each.host.name} is a primary that was replaced" for each in states if each.role == "primary"
    )
    others = (str(each) for each in states if each.role != "primary")
    return Choice(None, "no primary: " + "; ".join((*replaced, *others)))


def _timeline(state: HostState) -> int:
    return state.look.timeline if state.look is not None else 0


def _writable(state: HostState) -> bool:
    return state.look is not None and not state.look.read_only


class Mark(NamedTuple):
    """How far the primary had written at a time."""

    at: float
    position: int


def lag_s(replayed: int | None, marks: Iterable[Mark], now: float) -> float:
    """For how long the primary has had something that a standby has not replayed. `marks` are rising.

    A standby that does not tell is not suspected: whether a range is complete there is asked with each read.
    """
    if replayed is None:
        return 0.0
    return next((now - mark.at for mark in marks if mark.position > replayed), 0.0)
