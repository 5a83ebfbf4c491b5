"""The audience of one gateway: which sessions follow which logs, and what the bus brings for them.

Rooms deliver each log strictly in order. All state is touched in the event loop only; what must wait for the routes
or the log runs in one task per room, and what arrives meanwhile is read from the log.
"""

from collections.abc import Callable, Mapping, Sequence

from posthouse.cache.base import LogKey, Routes
from posthouse.gateway.registrar import Registrar
from posthouse.gateway.session import Session
from posthouse.gateway.websocket import Frame as WireFrame, encode_frame
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import Tasks
from posthouse.messaging.bodies import account_body, users_of
from posthouse.messaging.fanout import Arrival, Room, Rooms
from posthouse.messaging.gather import Gather
from posthouse.messaging.notes import BlockNote, CursorsNote, EntryNote, HeadsNote, decode_notes
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, MEMBER_LEFT, Entry
from posthouse.model.ids import account_id, account_user
from posthouse.protocol.codec import decode_server, encode
from posthouse.protocol.frames import Push
from posthouse.protocol.phases import Phase
from posthouse.storage.base import Inbox, Log, Refused, StorageError

_log = logger(__name__)

CATCH_UP_ENTRIES_MAX = 200
CATCH_UP_BYTES_MAX = 64 * 1024
RETRY_INTERVAL_S = 1.0


class Audience:
    """Rooms of one gateway. `sessions` finds a live session by its id; `blocked` hears of users who were blocked."""

    def __init__(
        self,
        node: str,
        log: Log,
        routes: Routes,
        tasks: Tasks,
        clock: Clock,
        sessions: Mapping[str, Session],
        blocked: Callable[[str, str, Sequence[Session]], None],
    ) -> None:
        self.rooms: Rooms[Session] = Rooms()
        self.heads: Gather[str, int] = Gather(log.heads, keys_max=5_000)
        self.inboxes: Gather[str, Inbox] = Gather(self._load_inboxes, keys_max=500)
        self.deliveries = 0
        self.gaps = 0
        self._log = log
        self._tasks = tasks
        self._clock = clock
        self._sessions = sessions
        self._blocked = blocked
        self._registrar = Registrar(node, routes, self._wanted)

    # Who follows what -----------------------------------------------------------------------------------------

    async def settle(self, session: Session) -> Inbox:
        """Let a session into its user's account log; returns what the user follows, read after the route stood."""
        await self._occupy([session], [account_id(session.user)])
        inbox = await self._inbox(session.app, session.user)
        self._learn(self.rooms.get((session.app, account_id(session.user))), inbox.account_head)
        return inbox

    async def follow(
        self, app: str, user: str, sessions: Sequence[Session], convs: Sequence[str]
    ) -> dict[str, int]:
        """Let sessions of one user into those conversations that they are a member of; returns heads. They receive
        nothing yet.

        First the routes stand, then heads are read, then membership. So a leaving is either in the last answer or lies
        beyond the head and meets the sessions in the room: nobody hears what came after it.
        """
        heads: dict[str, int] = {}
        missing = bool(convs)
        while missing:
            await self._occupy(sessions, convs)
            heads = await self.heads.get(app, convs)
            for conv, head in heads.items():
                self._learn(self.rooms.get((app, conv)), head)
            member_of = frozenset((await self._inbox(app, user)).convs).intersection(convs)
            for conv in set(convs) - member_of:
                self._leave(app, conv, sessions)
            missing = any(not each.gone and not member_of.issubset(_followed(each)) for each in sessions)
        return heads

    def admit(self, session: Session, room: Room[Session], head: int) -> int:
        """Let a session receive what lies beyond `head`, which was read since it came in. Returns how far its own sync
        must reach."""
        reached = room.admit(session, head)
        self._read_if_behind(room)
        return reached

    def vacate(self, session: Session) -> None:
        """A session is gone: its rooms tidy themselves, and empty ones are forgotten."""
        for room in session.rooms:
            if room.note_gone(session):
                self._drop(room)
        session.rooms = []

    async def flush(self) -> None:
        """Take the logs that nobody here follows any more out of the routes."""
        await self._registrar.flush()

    async def _occupy(self, sessions: Sequence[Session], convs: Sequence[str]) -> None:
        """Put sessions into rooms; returns once their routes stand."""
        new = []
        for session in sessions:
            followed = _followed(session)
            for conv in convs:
                if conv not in followed and not session.gone:
                    room, is_new = self.rooms.enter((session.app, conv), session)
                    session.rooms.append(room)
                    if is_new:
                        new.append(room.key)
        await self._registrar.register(new)

    def _leave(self, app: str, conv: str, sessions: Sequence[Session]) -> None:
        room = self.rooms.get((app, conv))
        if room is not None:
            for session in sessions:
                self._discard(room, session)

    def _learn(self, room: Room[Session] | None, head: int) -> None:
        if room is not None:
            room.learn(head)
            self._read_if_behind(room)

    async def _inbox(self, app: str, user: str) -> Inbox:
        return (await self.inboxes.get(app, [user]))[user]

    async def _is_member(self, app: str, user: str, conv: str) -> bool:
        return conv in (await self._inbox(app, user)).convs

    async def _load_inboxes(self, app: str, users: list[str]) -> dict[str, Inbox]:
        return {inbox.user: inbox for inbox in await self._log.inboxes(app, users)}

    def _wanted(self, key: LogKey) -> bool:
        return self.rooms.get(key) is not None

    def _discard(self, room: Room[Session], session: Session) -> None:
        if room in session.rooms:
            session.rooms.remove(room)
            room.discard(session)
            self._drop(room)

    def _drop(self, room: Room[Session]) -> None:
        if not room.sessions:
            self.rooms.drop(room)
            self._registrar.unregister_later(room.key)

    # Deliveries -----------------------------------------------------------------------------------------------

    def deliver(self, message: bytes) -> None:
        """One message from the bus."""
        for note in decode_notes(message):
            if isinstance(note, EntryNote):
                self._entry(note)
            elif isinstance(note, CursorsNote):
                self._cursors(note)
            elif isinstance(note, HeadsNote):
                self._heads(note)
            else:
                self._block(note)

    def _entry(self, note: EntryNote) -> None:
        room = self.rooms.get((note.app, note.conv))
        if room is None:
            return
        arrival = room.arrive(note.seq)
        if arrival is Arrival.DELIVER and account_user(note.conv) is not None:
            room.head, room.wanted = note.seq - 1, note.seq
            self._read_on(room, _entry_of(note.frame))
        elif arrival is Arrival.DELIVER:
            skip = self._sessions.get(note.origin) if note.origin else None
            self._push(room, note.seq, encode_frame(note.frame), skip)
            if note.left:
                self._remove(room, note.left)
        elif arrival is Arrival.GAP:
            self._read_if_behind(room)

    def _push(self, room: Room[Session], seq: int, frame: WireFrame, skip: Session | None = None) -> None:
        """The hot path of fan-out: one frame to every session of a room."""
        recipients = room.recipients(seq)
        for session in recipients:
            if session is not skip:
                session.socket.send(frame)
        self.deliveries += len(recipients)

    def _cursors(self, note: CursorsNote) -> None:
        room = self.rooms.get((note.app, note.conv))
        if room is not None and room.head is not None:
            frame = encode_frame(note.frame)
            for session in room.recipients(room.head):
                session.socket.send(frame)

    def _heads(self, note: HeadsNote) -> None:
        for conv, seq in note.heads.items():
            room = self.rooms.get((note.app, conv))
            if room is not None:
                room.hear(seq)
                self._read_if_behind(room)

    def _block(self, note: BlockNote) -> None:
        room = self.rooms.get((note.app, account_id(note.user)))
        self._blocked(note.app, note.user, list(room.sessions) if room is not None else [])

    def _read_if_behind(self, room: Room[Session]) -> None:
        if room.behind:
            self.gaps += 1
            self._read_on(room)

    def _read_on(self, room: Room[Session], first: Entry | None = None) -> None:
        """Have the room read its log up to `wanted`, beginning with `first` if it is at hand."""
        room.reading = True  # from now on, not from when the task begins: only one may read at a time
        self._tasks.spawn("read on", self._catch_up(room, first))

    async def _catch_up(self, room: Room[Session], first: Entry | None) -> None:
        """Deliver what is missing between a room's head and the newest seq it has heard of.

        What arrives meanwhile only raises `wanted`. While the log cannot be read, try again: nobody else would tell.
        """
        attempts = 0
        try:
            while room.sessions and room.head is not None and room.head < room.wanted:
                try:
                    entries = await self._missing(room) if first is None else (first,)
                    first = None
                    for entry in entries:
                        await self._replay(room, entry)
                except StorageError as error:
                    if not attempts:
                        _log.warning("a room cannot read its log", room=repr(room), reason=str(error))
                    attempts += 1
                    await self._clock.sleep(RETRY_INTERVAL_S)
        finally:
            room.reading = False
            room.wanted = 0

    async def _missing(self, room: Room[Session]) -> tuple[Entry, ...]:
        """The next entries of a log; a hint that goes beyond it is forgotten."""
        page = await self._log.read(
            *room.key, None, after=room.head, limit=CATCH_UP_ENTRIES_MAX, bytes_max=CATCH_UP_BYTES_MAX
        )
        if isinstance(page, Refused) or not page.entries:
            room.wanted = 0
            return ()
        return page.entries

    async def _replay(self, room: Room[Session], entry: Entry) -> None:
        """Deliver one entry read from the log, with what it changes about who follows what."""
        if account_user(entry.conv) is not None:
            await self._follow(room, entry)
        self._push(room, entry.seq, encode_frame(encode(Push(entry=entry))))
        room.head = entry.seq
        if entry.kind == MEMBER_LEFT:
            self._remove(room, users_of(entry))

    async def _follow(self, room: Room[Session], entry: Entry) -> None:
        """The user of an account log joined or left a conversation: their sessions follow it, or no longer.

        By now they may have left or come back again, so membership is asked for afresh. What was written before they
        came in is fetched by the client, who hears of the joining next.
        """
        user = account_user(entry.conv)
        if user is None or entry.kind not in (ACCOUNT_JOINED, ACCOUNT_LEFT):
            return
        app, conv = room.key[0], account_body(entry).conv
        sessions = list(room.sessions)
        if entry.kind == ACCOUNT_JOINED:
            heads = await self.follow(app, user, sessions, [conv])
            self._admit_all(app, conv, sessions, heads.get(conv, 0))
        elif any(conv in _followed(each) for each in sessions) and not await self._is_member(app, user, conv):
            self._leave(app, conv, sessions)

    def _admit_all(self, app: str, conv: str, sessions: Sequence[Session], head: int) -> None:
        """Of those still being let in none: they are admitted to all their rooms at once."""
        room = self.rooms.get((app, conv))
        for session in sessions if room is not None else ():
            if session.phase is Phase.LIVE and room in session.rooms:
                self.admit(session, room, head)

    def _remove(self, room: Room[Session], users: Sequence[str]) -> None:
        """Members have left: after this entry their sessions hear nothing more of the conversation."""
        leavers = frozenset(users)
        for session in [session for session in room.sessions if session.user in leavers]:
            self._discard(room, session)


def _followed(session: Session) -> set[str]:
    return {room.key[1] for room in session.rooms}


def _entry_of(frame: bytes) -> Entry:
    push = decode_server(frame)
    assert isinstance(push, Push)
    return push.entry
