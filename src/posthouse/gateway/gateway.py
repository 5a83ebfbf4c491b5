"""The part of a node that holds client connections: its sessions, its rooms, and what the bus brings for them.

All state is touched in the event loop only, and never across an `await` between check and change.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from posthouse.auth.resume import ResumeTokens
from posthouse.auth.tokens import TokenVerifier
from posthouse.cache.base import Routes
from posthouse.gateway.admission import Admission
from posthouse.gateway.entrance import Entrance
from posthouse.gateway.registrar import Registrar
from posthouse.gateway.requests import Requests
from posthouse.gateway.session import Session
from posthouse.gateway.websocket import Frame as WireFrame, Socket, encode_frame
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.kit.tasks import Tasks
from posthouse.messaging.bodies import account_body, users_of
from posthouse.messaging.commit import GroupCommit
from posthouse.messaging.fanout import Arrival, Room, Rooms
from posthouse.messaging.gather import Gather
from posthouse.messaging.notes import BlockNote, CursorsNote, EntryNote, HeadsNote, decode_notes
from posthouse.messaging.receipts import Receipts
from posthouse.model.content import BODY_BYTES_MAX
from posthouse.model.entry import ACCOUNT_JOINED, ACCOUNT_LEFT, MEMBER_LEFT, Entry
from posthouse.model.ids import account_id, account_user
from posthouse.protocol.codec import decode_server, encode
from posthouse.protocol.codes import Action, Code, action_of
from posthouse.protocol.frames import Push
from posthouse.protocol.phases import Phase
from posthouse.storage.base import Database, Inbox, Refused, StorageError

_log = logger(__name__)

CATCH_UP_ENTRIES_MAX = 200
SWEEP_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """What one gateway takes from its clients."""

    frame_bytes_max: int = 64 * 1024
    body_bytes_max: int = BODY_BYTES_MAX
    in_flight_max: int = 256
    entering_max: int = 20_000
    hello_timeout_ms: int = 10_000
    resume_ttl_s: int = 7 * 24 * 3600
    retry_after_ms: int = 500


class Gateway:
    """Sessions and rooms of one node. `node` is the name by which the bus reaches it."""

    def __init__(
        self,
        node: str,
        database: Database,
        commit: GroupCommit,
        receipts: Receipts,
        routes: Routes,
        verifier: TokenVerifier,
        resume_tokens: ResumeTokens,
        admission: Admission,
        clock: Clock,
        limits: GatewayLimits = GatewayLimits(),
    ) -> None:
        self.node = node
        self.log = database
        self.commit = commit
        self.receipts = receipts
        self.verifier = verifier
        self.resume_tokens = resume_tokens
        self.admission = admission
        self.clock = clock
        self.limits = limits
        self.tasks = Tasks(clock)
        self.codes: Counter[int] = Counter()
        self.deliveries = 0
        self.gaps = 0
        self.draining = False
        self.connections: set[Session] = set()
        self.rooms: Rooms[Session] = Rooms()
        self.entrance = Entrance(self)
        self.requests = Requests(self)
        self.inboxes: Gather[str, Inbox] = Gather(self._load_inboxes, keys_max=500)
        self.heads: Gather[str, int] = Gather(database.heads, keys_max=5_000)
        self._started_ms = clock.now_ms()
        self._numbers = itertools.count(1)
        self._blocked: dict[str, set[str]] = {}
        self._devices: dict[tuple[str, str, str], Session] = {}
        self._sessions: dict[str, Session] = {}
        self._registrar = Registrar(node, routes, lambda key: self.rooms.get(key) is not None)

    @property
    def epoch(self) -> str:
        """The database's epoch, as every session is told."""
        return self.log.epoch

    # Sessions -------------------------------------------------------------------------------------------------

    def accept(self, socket: Socket) -> Session:
        """The handler of a new socket."""
        session = Session(self, socket, self.clock.monotonic())
        self.connections.add(session)
        return session

    def admit(self, session: Session) -> None:
        """A session is live. An older one of the same device makes way."""
        key = (session.app, session.user, session.device)
        older = self._devices.get(key)
        if older is not None and older is not session:
            older.end(Code.REPLACED, "the same device opened a newer session")
        self._devices[key] = session
        self._sessions[session.id] = session

    def forget(self, session: Session) -> None:
        """The socket is closed."""
        self.connections.discard(session)
        self._sessions.pop(session.id, None)
        key = (session.app, session.user, session.device)
        if self._devices.get(key) is session:
            del self._devices[key]

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

    def is_blocked(self, app: str, user: str) -> bool:
        """True when the application has blocked the user, as far as this node has heard."""
        return user in self._blocked.get(app, ())

    async def load_blocked(self, apps: Sequence[str]) -> None:
        """Read who is blocked. Called before the gateway opens."""
        for app in apps:
            self._blocked[app] = set(await self.log.blocked(app))

    def unblock(self, app: str, user: str) -> None:
        """The application lifted a block."""
        self._blocked.get(app, set()).discard(user)

    def new_session_id(self) -> str:
        """A name for a session: unique in the cluster, since the node's own name is."""
        return f"{self.node}.{self._started_ms:x}.{next(self._numbers):x}"

    def count(self, code: int) -> None:
        """Count a refusal or a close by its code."""
        self.codes[code] += 1

    def retry_after_ms(self, code: int) -> int:
        """When a client should repeat what was refused with `code`; 0 when it should not."""
        return self.limits.retry_after_ms if action_of(code) in (Action.RETRY, Action.RESUME) else 0

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
            self.tasks.spawn("account", self._catch_up(room, _entry_of(note.frame)))
        elif arrival is Arrival.DELIVER:
            self._push(
                room, encode_frame(note.frame), self._sessions.get(note.origin) if note.origin else None
            )
            if note.left:
                self._remove(room, note.left)
        elif arrival is Arrival.GAP and room.wanted == note.seq and not room.reading:
            self.gaps += 1
            self.tasks.spawn("catch up", self._catch_up(room))

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
                self.tasks.spawn("catch up", self._catch_up(room))

    def _block(self, note: BlockNote) -> None:
        self._blocked.setdefault(note.app, set()).add(note.user)
        room = self.rooms.get((note.app, account_id(note.user)))
        for session in list(room.sessions) if room is not None else ():
            session.end(Code.BLOCKED, "the application has blocked this user")

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
                page = await self.log.read(
                    room.key[0], room.key[1], None, after=room.head, limit=CATCH_UP_ENTRIES_MAX
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
        """The user of an account log joined or left a conversation: their sessions follow it, or no longer."""
        if entry.kind not in (ACCOUNT_JOINED, ACCOUNT_LEFT):
            return
        conv = account_body(entry).conv
        followed = self.rooms.get((room.key[0], conv))
        for session in list(room.sessions):
            if entry.kind == ACCOUNT_JOINED:
                await self.occupy(session, [conv])
            elif followed is not None:
                self._discard(followed, session)
        entered = self.rooms.get((room.key[0], conv))
        if entered is not None and entered.head is None:
            heads = await self.heads.get(room.key[0], [conv])
            entered.learn_head(heads.get(conv, 0))

    def _remove(self, room: Room[Session], users: Sequence[str]) -> None:
        """Members have left: after this entry their sessions hear nothing more of the conversation."""
        leavers = frozenset(users)
        for session in [session for session in room.sessions if session.user in leavers]:
            self._discard(room, session)

    def _discard(self, room: Room[Session], session: Session) -> None:
        if room in session.rooms:
            session.rooms.remove(room)
            room.discard(session)
            self._drop(room)

    def _drop(self, room: Room[Session]) -> None:
        if not room.sessions:
            self.rooms.drop(room)
            self._registrar.unregister_later(room.key)

    # Background -----------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Twice a second: end sessions that are silent, late with `hello`, or whose token has expired."""
        while True:
            await self.clock.sleep(SWEEP_INTERVAL_S)
            now, now_s = self.clock.monotonic(), self.clock.now_ms() // 1000
            for session in list(self.connections):
                self._inspect(session, now, now_s)
            self.admission.forget_idle(now)
            await self._registrar.flush()

    def _inspect(self, session: Session, now: float, now_s: int) -> None:
        if session.phase is Phase.LIVE:
            if now - session.last_seen > 2 * session.heartbeat_s + 1:
                session.end(Code.HEARTBEAT_MISSED, "nothing came for twice the heartbeat interval")
            elif session.expires_s <= now_s:
                session.end(Code.TOKEN_EXPIRED, "the access token has expired")
        elif session.phase is Phase.NEW and (now - session.opened) * 1000 > self.limits.hello_timeout_ms:
            session.end(Code.HELLO_TIMEOUT, "no hello came in time")

    def send_away(self, code: Code, reason: str, within_ms: int) -> None:
        """End every session, spreading their return evenly over `within_ms`."""
        sessions = list(self.connections)
        for number, session in enumerate(sessions):
            session.end(code, reason, round(within_ms * number / len(sessions)))

    async def _load_inboxes(self, app: str, users: list[str]) -> dict[str, Inbox]:
        return {inbox.user: inbox for inbox in await self.log.inboxes(app, users)}


def _entry_of(frame: bytes) -> Entry:
    push = decode_server(frame)
    assert isinstance(push, Push)
    return push.entry
