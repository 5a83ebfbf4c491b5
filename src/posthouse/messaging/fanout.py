"""Rooms: which local sessions follow a log, and whether an entry may be delivered now. Pure.

A room delivers its log strictly in order. An entry beyond the next one means that a hint was lost: the shell then
reads the log from the room's head. A session that enters is silent until its own sync has read the log's head, and then
receives only what lies beyond that and in its membership. Sessions are opaque handles that only say if they are `gone`.
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


class _Mark:
    """A session that does not receive everything as yet: it is `silent` until its own sync has read the log, which then
    covers what is up to `covered`; `since` is the entry with which its membership begins, None until that is known."""

    __slots__ = ("covered", "silent", "since")

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self.covered = 0
        self.since: int | None = None

    def receives(self, seq: int) -> bool:
        return not self.silent and self.since is not None and self.since <= seq and self.covered < seq

    def is_past(self, seq: int) -> bool:
        """True when nothing up to `seq` is left to be kept from the session."""
        return not self.silent and self.since is not None and max(self.since - 1, self.covered) <= seq


class Room(Generic[S]):
    """The local sessions that follow one log. `head` is the newest seq delivered here; None until it is known."""

    __slots__ = ("_gone", "_marks", "head", "key", "reading", "sessions", "wanted")

    def __init__(self, key: LogKey) -> None:
        self.key = key
        self.head: int | None = None
        self.sessions: list[S] = []
        self.wanted = 0
        self.reading = False
        self._gone = 0
        self._marks: dict[S, _Mark] = {}

    def __repr__(self) -> str:
        return f"<Room {self.key[0]}/{self.key[1]} head={self.head} sessions={len(self.sessions)}>"

    @property
    def behind(self) -> bool:
        """True when the log is known to go beyond the head, and the shell should begin to read it."""
        return self.head is not None and self.wanted > self.head and not self.reading

    def arrive(self, seq: int) -> Arrival:
        """Decide about entry `seq`. DELIVER moves the head; GAP raises `wanted`, and the shell reads the log.

        Before the head is known nothing is delivered; while the log is read what arrives is read there as well.
        """
        if self.head is not None and seq <= self.head:
            return Arrival.OLD
        if self.head is None or self.wanted or seq > self.head + 1:
            self.hear(seq)
            return Arrival.GAP
        self.head = seq
        return Arrival.DELIVER

    def hear(self, seq: int) -> None:
        """The log goes at least to `seq`."""
        if self.head is None or seq > self.head:
            self.wanted = max(self.wanted, seq)

    def learn(self, head: int) -> None:
        """The log's head, as read after its route stood: what is older reaches sessions by their own sync."""
        if self.head is None:
            self.head = head
            self.wanted = self.wanted if self.wanted > head else 0

    def enter(self, session: S) -> None:
        """A session comes in; until `admit` and `belong` it receives nothing."""
        self.sessions.append(session)
        self._marks[session] = _Mark(silent=True)

    def belong(self, session: S, joined_seq: int) -> None:
        """The session's user is a member since entry `joined_seq`, as read after it came in: what is older is not for
        it. It may be here from before, and the room lag behind: then the room has yet to read of the time away."""
        mark = self._marks.get(session)
        if mark is None and joined_seq - 1 > (self.head or 0):
            mark = self._marks[session] = _Mark(silent=False)
        if mark is not None:
            mark.since = max(mark.since or 0, joined_seq)
            self._forget_past(session, mark)

    def admit(self, session: S, head: int) -> int:
        """The session's sync has read the log's `head` since it entered. Returns how far the client must reach.

        A room may lag behind the log: then what the sync covers is not for this session, and may not be.
        """
        self.learn(head)
        reached = max(head, self.head or 0)
        mark = self._marks.get(session)
        if mark is not None and mark.silent:
            mark.silent, mark.covered = False, head
            reached = max(reached, (mark.since or 1) - 1)
            self._forget_past(session, mark)
        return reached

    def recipients(self, seq: int) -> list[S]:
        """Who receives entry `seq`, or what belongs to what is before it."""
        if not self._marks:
            return self.sessions
        marks = self._marks
        recipients = [
            each for each in self.sessions if (mark := marks.get(each)) is None or mark.receives(seq)
        ]
        for session in [session for session, mark in marks.items() if mark.is_past(seq - 1)]:
            del marks[session]
        return recipients

    def concerned(self, seq: int) -> list[S]:
        """Whose membership a leaving with entry `seq` ends: not of those who are known to have come back after it."""
        marks = self._marks
        return [
            each for each in self.sessions if (mark := marks.get(each)) is None or (mark.since or 0) <= seq
        ]

    def _forget_past(self, session: S, mark: _Mark) -> None:
        if mark.is_past(self.head or 0):
            self._marks.pop(session, None)

    def discard(self, session: S) -> None:
        """A session that still lives leaves this room."""
        if session in self.sessions:
            self.sessions.remove(session)
        self._forget(session)
        self._tidy()

    def _forget(self, session: S) -> None:
        self._marks.pop(session, None)

    def note_gone(self, session: S) -> bool:
        """A session of this room is gone. Returns True when that was the last one.

        The list is tidied in bulk: removing one by one would take minutes when ten thousand go at once.
        """
        self._forget(session)
        self._gone += 1
        self._tidy()
        return not self.sessions

    def _tidy(self) -> None:
        if self._gone >= len(self.sessions):
            self.sessions.clear()
        elif self._gone > 8 + len(self.sessions) // 4:
            self.sessions = [session for session in self.sessions if not session.gone]
        else:
            return
        self._gone = 0


class Rooms(Generic[S]):
    """All rooms of one gateway."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, Room[S]]] = {}

    def __len__(self) -> int:
        return sum(len(rooms) for rooms in self._rooms.values())

    def all(self) -> list[Room[S]]:
        """Every room there is now."""
        return [room for rooms in self._rooms.values() for room in rooms.values()]

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
        room.enter(session)
        return room, new

    def drop(self, room: Room[S]) -> None:
        """Forget an empty room."""
        if not room.sessions and self.get(room.key) is room:
            del self._rooms[room.key[0]][room.key[1]]
