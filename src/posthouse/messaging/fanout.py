"""Rooms: which local sessions follow a log, and whether an entry may be delivered now. Pure.

A room delivers its log strictly in order, from the head that was read after its route stood. An entry beyond the next
one means that a hint was lost: the shell then reads the log from the room's head. A session receives what comes after
the head that its own sync has read. Sessions are opaque handles that only say whether they are `gone`.
"""

from enum import Enum
from typing import Generic, Protocol, TypeVar

LogKey = tuple[str, str]


class Handle(Protocol):
    """What a room asks of a session."""

    gone: bool


S = TypeVar("S", bound=Handle)


class Arrival(Enum):
    """What to do with an entry that arrived at a room."""

    DELIVER = "deliver"
    OLD = "old"
    GAP = "gap"


class Newcomer:
    """A session that does not receive yet. `head`: how far the log went when they were seen to be a member, or -1.

    `ready`: the rest is for the room to do, which may lag behind that head; what is older is not for this session.
    """

    __slots__ = ("head", "ready")

    def __init__(self) -> None:
        self.head = -1
        self.ready = False


class Room(Generic[S]):
    """The local sessions that follow one log. `head` is the newest seq delivered here; None until it is known.

    `wanted` is how far the log is known to go beyond the head, 0 when it is not; `reading` is the shell's mark that it
    is on the way there.
    """

    __slots__ = ("_gone", "head", "key", "newcomers", "reading", "sessions", "wanted")

    def __init__(self, key: LogKey) -> None:
        self.key = key
        self.head: int | None = None
        self.sessions: list[S] = []
        self.newcomers: dict[S, Newcomer] = {}
        self.wanted = 0
        self.reading = False
        self._gone = 0

    def __repr__(self) -> str:
        return f"<Room {self.key[0]}/{self.key[1]} head={self.head} sessions={len(self.sessions)}>"

    # Entries

    @property
    def behind(self) -> bool:
        """True when the log is known to go beyond the head and the shell should begin to read it."""
        return self.head is not None and self.wanted > self.head and not self.reading

    def arrive(self, seq: int) -> Arrival:
        """Decide about entry `seq`. DELIVER: hand it to `sessions`, then `advance`. GAP: read the log up to `wanted`.

        Before the head is known nothing is delivered, and while the log is read what arrives is read there as well.
        """
        if self.head is not None and seq <= self.head:
            return Arrival.OLD
        if self.head is None or self.wanted or seq > self.head + 1:
            self.hear(seq)
            return Arrival.GAP
        return Arrival.DELIVER

    def hear(self, seq: int) -> None:
        """The log goes at least to `seq`."""
        if self.head is None or seq > self.head:
            self.wanted = max(self.wanted, seq)

    def advance(self, seq: int) -> None:
        """The log is delivered up to `seq`."""
        self.head = seq
        if self.wanted <= seq:
            self.wanted = 0
        if self.newcomers:
            self._let_in()

    # Sessions

    @property
    def empty(self) -> bool:
        """True when nobody follows the log or is about to."""
        return not self.sessions and not self.newcomers

    def expect(self, session: S) -> Newcomer:
        """Somebody may come in; until then they hear nothing. Expected once more, only the later one counts."""
        newcomer = self.newcomers[session] = Newcomer()
        return newcomer

    def approve(self, session: S, newcomer: Newcomer, head: int) -> bool:
        """The user is a member, and the log goes to `head`: read after the route stood. False: they have left since,
        or were expected once more."""
        if self.newcomers.get(session) is not newcomer:
            return False
        newcomer.head = head
        if self.head is None:
            self.advance(head) if self.wanted <= head else self._begin(head)
        self.hear(head)
        return True

    def _begin(self, head: int) -> None:
        self.head = head

    def admit(self, session: S) -> int:
        """Let one in who was approved. Returns the head up to which the session must sync by itself."""
        newcomer = self.newcomers.get(session)
        if newcomer is not None:
            newcomer.ready = True
            self._let_in()
        return max(self.head or 0, newcomer.head if newcomer is not None else 0)
