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
from posthouse.messaging.gather import Gathers
from posthouse.messaging.hearing import Hearing
from posthouse.messaging.notes import CursorsNote, EntryNote, Handlers, HeadsNote
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, MEMBER_LEFT, Entry
from posthouse.model.ids import account_id, account_user
from posthouse.protocol.codec import decode_server, encode
from posthouse.protocol.frames import Heads, Push
from posthouse.protocol.phases import Phase
from posthouse.storage.base import FeedEntry, Inbox, Log, Refused, StorageError, StorageUnavailable, UserConv

_log = logger(__name__)

CATCH_UP_ENTRIES_MAX = 200
CATCH_UP_BYTES_MAX = 64 * 1024
RETRY_INTERVAL_S = 1.0
RECHECK_LOGS_MAX = 2_000
KEEP_INTERVAL_S = 1.0


class Audience:
    """Rooms of one gateway. `sessions` finds a live session by its id."""

    def __init__(
        self,
        node: str,
        log: Log,
        routes: Routes,
        tasks: Tasks,
        clock: Clock,
        sessions: Mapping[str, Session],
        hearing: Hearing,
        handlers: Handlers,
        place_of: Callable[[str, str], str],
    ) -> None:
        self.rooms: Rooms[Session] = Rooms()
        self.heads: Gathers[str, int | None] = Gathers(log.heads, clock, place_of, keys_max=5_000)
        self.inboxes: Gathers[str, Inbox | None] = Gathers(
            self._load_inboxes, clock, lambda app, user: place_of(app, account_id(user)), keys_max=500
        )
        self.memberships: Gathers[UserConv, int | None] = Gathers(
            self._load_memberships, clock, lambda app, pair: place_of(app, pair[1]), keys_max=5_000
        )
        self.deliveries = 0
        self.gaps = 0
        self._log = log
        self._tasks = tasks
        self._clock = clock
        self._sessions = sessions
        self._hearing = hearing
        self._registrar = Registrar(node, routes, self._wanted, hearing)
        handlers.on(EntryNote, self._entry)
        handlers.on(CursorsNote, self._cursors)
        handlers.on(HeadsNote, self._heads)

    # Who follows what -----------------------------------------------------------------------------------------

    async def settle(self, session: Session) -> None:
        """Let a session into its user's account log; returns once the route stands."""
        await self._occupy([session], [account_id(session.user)])
        self._belong(session.app, account_id(session.user), [session], 1)

    async def inbox(self, session: Session) -> Inbox | None:
        """What the user of a session that has settled follows. None when the database that holds it cannot be asked."""
        inbox = (await self.inboxes.get(session.app, [session.user]))[session.user]
        if inbox is not None:
            self._learn(self.rooms.get((session.app, account_id(session.user))), inbox.account_head)
        return inbox

    async def follow(
        self,
        app: str,
        user: str,
        sessions: Sequence[Session],
        convs: Sequence[str],
        patience_s: float | None = None,
    ) -> dict[str, int | None]:
        """Let sessions of one user into those conversations that they are a member of; returns heads, None where a
        database cannot say now: there they are let in as well, and `complete` finds out. They receive nothing yet. Once
        one database has answered, the others have `patience_s`.

        First the routes stand, then heads are read, then where the membership begins. So a leaving is either in the
        last answer, or before that beginning, which the room covers, or beyond it and the head, where it meets the
        sessions in the room: nobody hears what came after it, and nobody who came back is removed by it.
        """
        heads: dict[str, int | None] = {}
        missing = bool(convs)
        while missing:
            await self._occupy(sessions, convs)
            heads = {} | await self.heads.get(app, convs, patience_s)
            for conv, head in heads.items():
                self._learn(self.rooms.get((app, conv)), head)
            known = [conv for conv in dict.fromkeys(convs) if heads.get(conv, 0) is not None]

            def heard(said: Mapping[UserConv, int | None]) -> None:
                for (_, conv), joined_seq in said.items():
                    self._belong(app, conv, sessions, joined_seq)

            since = await self._member_since(app, user, known, patience_s, heard)
            heads |= {conv: None for conv, joined_seq in since.items() if joined_seq is None}
            members = {conv for conv, joined_seq in since.items() if joined_seq}
            missing = any(not each.gone and not members.issubset(followed(each)) for each in sessions)
        return heads

    def complete(self, session: Session, convs: Sequence[str]) -> None:
        """Let a live session into logs whose databases could not say where they stand, once they can."""
        if convs:
            self._tasks.spawn("complete", self._complete(session, convs))

    async def _complete(self, session: Session, convs: Sequence[str]) -> None:
        """The client is told the heads: it fetches what it has missed."""
        while convs and not session.gone:
            await self._clock.sleep(RETRY_INTERVAL_S)
            try:
                heads = await self._followed_by_now(session, convs)
            except StorageError:
                continue
            reached = {
                room.key[1]: self.admit(session, room, head)
                for room in session.rooms
                if (head := heads.get(room.key[1])) is not None
            }
            if reached and not session.gone:
                session.send(Heads(heads=reached))
            convs = [conv for conv, head in heads.items() if head is None]

    async def _followed_by_now(self, session: Session, convs: Sequence[str]) -> dict[str, int | None]:
        """Heads of those that the session follows. Where its account log was unknown, it may lack conversations."""
        account = account_id(session.user)
        found: dict[str, int | None] = {}
        wanted = [conv for conv in convs if conv != account]
        if account in convs:
            await self.settle(session)
            inbox = await self.inbox(session)
            found[account] = None if inbox is None else inbox.account_head
            already = followed(session)
            wanted += [conv for conv in inbox.convs if conv not in already] if inbox is not None else []
        return found | await self.follow(session.app, session.user, [session], wanted)

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

    def sessions_of(self, app: str, user: str) -> list[Session]:
        """A user's sessions on this node."""
        room = self.rooms.get((app, account_id(user)))
        return list(room.sessions) if room is not None else []

    async def flush(self) -> None:
        """Take the logs that nobody here follows any more out of the routes."""
        await self._registrar.flush()

    async def keep(self) -> None:
        """Keep the routes alive, for ever. Logs whose routes had been lost may have missed hints."""
        while True:
            await self.keep_once()
            await self._clock.sleep(KEEP_INTERVAL_S)

    async def keep_once(self) -> None:
        """Keep the routes alive, once."""
        lost = frozenset(await self._registrar.keep())
        if lost:
            self._tasks.spawn("recheck", self._recheck_lost(lost))

    async def recheck(self, concerned: Callable[[LogKey], bool] = lambda key: True) -> None:
        """Have the rooms concerned ask how far their logs go: hints may have been lost. Raises `StorageError`.

        Also those whose head is being asked for: that answer may be older than the place in the feed that the poller
        has taken.
        """
        asked: dict[str, list[str]] = {}
        for room in self.rooms.all():
            if concerned(room.key):
                asked.setdefault(room.key[0], []).append(room.key[1])
        unknown = 0
        for app, convs in asked.items():
            for start in range(0, len(convs), RECHECK_LOGS_MAX):
                heads = await self.heads.get(app, convs[start : start + RECHECK_LOGS_MAX])
                self._hear(app, heads)
                unknown += sum(head is None for head in heads.values())
        if unknown:
            raise StorageUnavailable(f"how far {unknown} logs go cannot be asked now")

    async def _recheck_lost(self, lost: frozenset[LogKey]) -> None:
        """When it cannot be done now, the poller does it, and goes on until it can."""
        try:
            await self.recheck(lost.__contains__)
        except StorageError:
            self._hearing.missed()

    async def _occupy(self, sessions: Sequence[Session], convs: Sequence[str]) -> None:
        """Put sessions into rooms; returns once their routes stand."""
        new = []
        for session in sessions:
            already = followed(session)
            for conv in dict.fromkeys(convs):  # twice in a room, a session would stay there when it leaves
                if conv not in already and not session.gone:
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

    def _belong(self, app: str, conv: str, sessions: Sequence[Session], joined_seq: int | None) -> None:
        """Sessions of one user hear nothing from before their membership, and nothing at all without one."""
        room = self.rooms.get((app, conv))
        if joined_seq == 0:
            self._leave(app, conv, sessions)
        elif joined_seq is not None and room is not None:
            for session in sessions:
                if room in session.rooms:
                    room.belong(session, joined_seq)

    def _learn(self, room: Room[Session] | None, head: int | None) -> None:
        if room is not None and head is not None:
            room.learn(head)
            self._read_if_behind(room)

    async def _member_since(
        self,
        app: str,
        user: str,
        convs: Sequence[str],
        patience_s: float | None = None,
        heard: Callable[[Mapping[UserConv, int | None]], None] = lambda said: None,
    ) -> dict[str, int | None]:
        said = await self.memberships.get(app, [(user, conv) for conv in convs], patience_s, heard)
        return {conv: joined_seq for (_, conv), joined_seq in said.items()}

    async def _load_inboxes(self, app: str, users: list[str]) -> dict[str, Inbox | None]:
        return dict(zip(users, await self._log.inboxes(app, users), strict=True))

    async def _load_memberships(self, app: str, pairs: list[UserConv]) -> dict[UserConv, int | None]:
        return dict(zip(pairs, await self._log.memberships(app, pairs), strict=True))

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
                self._remove(room, note.seq, note.left)
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
            for session in room.recipients(room.head + 1):
                session.socket.send(frame)

    def _heads(self, note: HeadsNote) -> None:
        self._hear(note.app, note.heads)

    def hear_entries(self, items: Sequence[FeedEntry]) -> None:
        """New entries of a feed: most concern nobody here, or have been delivered."""
        for app, entry in ((item.app, item.entry) for item in items):
            room = self.rooms.get((app, entry.conv))
            if room is not None and (room.head is None or entry.seq > room.head):
                left = tuple(users_of(entry)) if entry.kind == MEMBER_LEFT else ()
                self._entry(EntryNote(app, entry.conv, entry.seq, encode(Push(entry=entry)), "", left))

    def _hear(self, app: str, heads: Mapping[str, int | None]) -> None:
        for conv, seq in heads.items():
            room = self.rooms.get((app, conv))
            if room is not None and seq is not None:
                room.hear(seq)
                self._read_if_behind(room)

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
            self._remove(room, entry.seq, users_of(entry))

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
            head = heads.get(conv, 0)
            if head is None:
                self._complete_all(sessions, conv)
            else:
                self._admit_all(app, conv, sessions, head)
        elif any(conv in followed(each) for each in sessions):
            joined_seq = (await self._member_since(app, user, [conv]))[conv]
            if joined_seq is None:
                self._complete_all(sessions, conv)
            elif joined_seq == 0:
                self._leave(app, conv, sessions)

    def _complete_all(self, sessions: Sequence[Session], conv: str) -> None:
        """Of those still being let in none: their entrance asks for itself."""
        for session in sessions:
            if session.phase is Phase.LIVE:
                self.complete(session, [conv])

    def _admit_all(self, app: str, conv: str, sessions: Sequence[Session], head: int) -> None:
        """Of those still being let in none: they are admitted to all their rooms at once."""
        room = self.rooms.get((app, conv))
        for session in sessions if room is not None else ():
            if session.phase is Phase.LIVE and room in session.rooms:
                self.admit(session, room, head)

    def _remove(self, room: Room[Session], seq: int, users: Sequence[str]) -> None:
        """Members left with entry `seq`: then their sessions hear nothing more, but for those who came back since."""
        leavers = frozenset(users)
        for session in [session for session in room.concerned(seq) if session.user in leavers]:
            self._discard(room, session)


def followed(session: Session) -> set[str]:
    """The logs in whose rooms a session is."""
    return {room.key[1] for room in session.rooms}


def _entry_of(frame: bytes) -> Entry:
    push = decode_server(frame)
    assert isinstance(push, Push)
    return push.entry
