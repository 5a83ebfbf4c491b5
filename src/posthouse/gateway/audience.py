"""The audience of one gateway: which sessions follow which logs, and what the bus brings for them.

Rooms deliver each log strictly in order. All state is touched in the event loop only; what must wait for the routes
or the log runs in one task per room, and what arrives meanwhile is read from the log.
"""

from collections.abc import Callable, Mapping, Sequence

from posthouse.cache.base import LogKey, Routes
from posthouse.gateway.registrar import Registrar
from posthouse.gateway.session import Session
from posthouse.gateway.websocket import Frame as WireFrame, encode_frame
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
from posthouse.storage.base import Log, Refused, StorageError

_log = logger(__name__)

CATCH_UP_ENTRIES_MAX = 200
CATCH_UP_BYTES_MAX = 64 * 1024


class Audience:
    """Rooms of one gateway. `sessions` finds a live session by its id; `blocked` hears of users who were blocked."""

    def __init__(
        self,
        node: str,
        log: Log,
        routes: Routes,
        tasks: Tasks,
        sessions: Mapping[str, Session],
        blocked: Callable[[str, str, Sequence[Session]], None],
    ) -> None:
        self.rooms: Rooms[Session] = Rooms()
        self.heads: Gather[str, int] = Gather(log.heads, keys_max=5_000)
        self.deliveries = 0
        self.gaps = 0
        self._log = log
        self._tasks = tasks
        self._sessions = sessions
        self._blocked = blocked
        self._registrar = Registrar(node, routes, self._wanted)

    # Who follows what -----------------------------------------------------------------------------------------

    async def occupy(self, session: Session, convs: Sequence[str]) -> None:
        """Let a session follow logs; returns once their routes stand."""
        new = []
        followed = {room.key[1] for room in session.rooms}
        for conv in convs:
            if conv not in followed and not session.gone:
                room, is_new = self.rooms.enter((session.app, conv), session)
                session.rooms.append(room)
                if is_new:
                    new.append(room.key)
        await self._registrar.register(new)

    def vacate(self, session: Session) -> None:
        """A session is gone: its rooms tidy themselves, and empty ones are forgotten."""
        for room in session.rooms:
            if room.note_gone():
                self._drop(room)
        session.rooms = []

    async def flush(self) -> None:
        """Take the logs that nobody here follows any more out of the routes."""
        await self._registrar.flush()

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
            self._tasks.spawn("account", self._catch_up(room, _entry_of(note.frame)))
        elif arrival is Arrival.DELIVER:
            self._push(
                room, encode_frame(note.frame), self._sessions.get(note.origin) if note.origin else None
            )
            if note.left:
                self._remove(room, note.left)
        elif arrival is Arrival.GAP and room.wanted == note.seq and not room.reading:
            self.gaps += 1
            self._tasks.spawn("catch up", self._catch_up(room))

    def _push(self, room: Room[Session], frame: WireFrame, skip: Session | None = None) -> None:
        """The hot path of fan-out: one frame to every session of a room."""
        for session in room.sessions:
            if session is not skip:
                session.outlet.send(frame)
        self.deliveries += len(room.sessions)

    def _cursors(self, note: CursorsNote) -> None:
        room = self.rooms.get((note.app, note.conv))
        if room is not None:
            frame = encode_frame(note.frame)
            for session in room.sessions:
                session.outlet.send(frame)

    def _heads(self, note: HeadsNote) -> None:
        for conv, seq in note.heads.items():
            room = self.rooms.get((note.app, conv))
            if room is not None and room.head is not None and seq > room.head and not room.reading:
                room.wanted = max(room.wanted, seq)
                self.gaps += 1
                self._tasks.spawn("catch up", self._catch_up(room))

    def _block(self, note: BlockNote) -> None:
        room = self.rooms.get((note.app, account_id(note.user)))
        self._blocked(note.app, note.user, list(room.sessions) if room is not None else [])

    async def _catch_up(self, room: Room[Session], first: Entry | None = None) -> None:
        """Deliver from the log what is missing between a room's head and the newest seq it has heard of.

        What arrives meanwhile only raises `wanted`. If the log cannot be read the room stays behind until the next
        hint, which comes at the latest with the next entry or the repair reader.
        """
        room.reading = True
        try:
            if first is not None:
                await self._replay(room, first)
            while room.head is not None and room.head < room.wanted and room.sessions:
                page = await self._log.read(
                    room.key[0],
                    room.key[1],
                    None,
                    after=room.head,
                    limit=CATCH_UP_ENTRIES_MAX,
                    bytes_max=CATCH_UP_BYTES_MAX,
                )
                if isinstance(page, Refused) or not page.entries:
                    break
                for entry in page.entries:
                    await self._replay(room, entry)
        except StorageError as error:
            _log.warning(
                "a room could not catch up; the next hint tries again", room=repr(room), reason=str(error)
            )
        finally:
            room.reading = False
            room.wanted = 0

    async def _replay(self, room: Room[Session], entry: Entry) -> None:
        """Deliver one entry read from the log, with what it changes about who follows what."""
        if account_user(entry.conv) is not None:
            await self._follow(room, entry)
        self._push(room, encode_frame(encode(Push(entry=entry))))
        room.head = entry.seq
        if entry.kind == MEMBER_LEFT:
            self._remove(room, users_of(entry))

    async def _follow(self, room: Room[Session], entry: Entry) -> None:
        """The user of an account log joined or left a conversation: their sessions follow it, or no longer.

        By now the user may have left or come back again. So sessions enter first and membership is asked after:
        a leaving that is not in the answer meets them in the room.
        """
        user = account_user(entry.conv)
        if user is None or entry.kind not in (ACCOUNT_JOINED, ACCOUNT_LEFT):
            return
        app, conv = room.key[0], account_body(entry).conv
        sessions = list(room.sessions)
        if entry.kind == ACCOUNT_JOINED:
            for session in sessions:
                await self.occupy(session, [conv])
        is_member = await self._log.member(app, conv, user) is not None
        followed = self.rooms.get((app, conv))
        if followed is not None and followed.head is None:
            followed.learn_head((await self.heads.get(app, [conv])).get(conv, 0))
        if followed is not None and not is_member:
            for session in sessions:
                self._discard(followed, session)

    def _remove(self, room: Room[Session], users: Sequence[str]) -> None:
        """Members have left: after this entry their sessions hear nothing more of the conversation."""
        leavers = frozenset(users)
        for session in [session for session in room.sessions if session.user in leavers]:
            self._discard(room, session)


def _entry_of(frame: bytes) -> Entry:
    push = decode_server(frame)
    assert isinstance(push, Push)
    return push.entry
