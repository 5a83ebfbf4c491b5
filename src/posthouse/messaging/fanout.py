"""Rooms: which local sessions follow a log, and whether an entry may be delivered now. Pure.

A room delivers its log strictly in order. An entry beyond the next one means that a hint was lost: the shell then
reads the log from the room's head. Sessions are opaque handles that only say whether they are `gone`.
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


class Room(Generic[S]):
    """The local sessions that follow one log. `head` is the newest seq delivered here; None until it is known."""

    __slots__ = ("_gone", "head", "key", "reading", "sessions", "wanted")

    def __init__(self, key: LogKey) -> None:
        self.key = key
        self.head: int | None = None
        self.sessions: list[S] = []
        self.wanted = 0
        self.reading = False
        self._gone = 0

    def __repr__(self) -> str:
        return f"<Room {self.key[0]}/{self.key[1]} head={self.head} sessions={len(self.sessions)}>"

    @property
    def catching_up(self) -> bool:
        """True while the shell reads the log up to `wanted`: what arrives meanwhile is read there as well."""
        return self.wanted > 0

    def arrive(self, seq: int) -> Arrival:
        """Decide about entry `seq`. DELIVER moves the head; GAP raises `wanted`, and the shell reads the log."""
        if self.head is not None and seq <= self.head:
            return Arrival.OLD
        if self.catching_up or (self.head is not None and seq > self.head + 1):
            self.wanted = max(self.wanted, seq)
            return Arrival.GAP
        self.head = seq
        return Arrival.DELIVER

    def learn_head(self, head: int) -> None:
        """The log's head as read after the room was registered: what is older reaches sessions by their sync."""
        if self.head is None:
            self.head = head

    def discard(self, session: S) -> None:
        """A session that still lives leaves this room."""
        if session in self.sessions:
            self.sessions.remove(session)

    def note_gone(self) -> bool:
        """A session of this room is gone. Returns True when that was the last one.

        The list is tidied in bulk: removing one by one would take minutes when ten thousand go at once.
        """
        self._gone += 1
        if self._gone >= len(self.sessions):
            self.sessions.clear()
        elif self._gone > 8 + len(self.sessions) // 4:
            self.sessions = [session for session in self.sessions if not session.gone]
        else:
            return False
        self._gone = 0
        return not self.sessions


class Rooms(Generic[S]):
    """All rooms of one gateway."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, Room[S]]] = {}

    def __len__(self) -> int:
        return sum(len(rooms) for rooms in self._rooms.values())

    def get(self, key: LogKey) -> Room[S] | None:
        """The room of a log, or None when nobody here follows it."""
        rooms = self._rooms.get(key[0])
        return rooms.get(key[1]) if rooms is not None else None

    def enter(self, key: LogKey, session: S) -> tuple[Room[S], bool]:
        """Let a session follow a log; returns its room and whether the room is new and must be registered."""
        rooms = self._rooms.setdefault(key[0], {})
        room = rooms.get(key[1])
        new = room is None
        if room is None:
            room = rooms[key[1]] = Room(key)
        room.sessions.append(session)
        return room, new

    def drop(self, room: Room[S]) -> None:
        """Forget an empty room."""
        if not room.sessions and self.get(room.key) is room:
            del self._rooms[room.key[0]][room.key[1]]

    def of_app(self, app: str) -> list[Room[S]]:
        """All rooms of one app."""
        return list(self._rooms.get(app, {}).values())
