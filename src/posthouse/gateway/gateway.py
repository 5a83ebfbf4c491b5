"""The part of a node that holds client connections: who is connected, what is counted, and when a session must end.

It is the host of its sessions; letting them in, their requests, and deliveries each have a module of their own.
"""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Sequence

from posthouse.auth.resume import ResumeTokens
from posthouse.auth.tokens import TokenVerifier
from posthouse.cache.base import Routes
from posthouse.gateway.admission import Admission
from posthouse.gateway.audience import Audience
from posthouse.gateway.blocklist import Blocklist
from posthouse.gateway.devices import Devices
from posthouse.gateway.entrance import Entrance
from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.registrar import SOURCE
from posthouse.gateway.requests import Requests
from posthouse.gateway.session import Session
from posthouse.gateway.websocket import Socket
from posthouse.health.report import CANARY_APP
from posthouse.kit.clock import Clock
from posthouse.kit.tasks import Tasks
from posthouse.messaging.commits import Commit
from posthouse.messaging.hearing import Hearing
from posthouse.messaging.notes import Handlers
from posthouse.messaging.receipts import Receipts
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import ClientFrame, Hello, Renew
from posthouse.protocol.phases import Phase
from posthouse.storage.base import Storage

SWEEP_INTERVAL_S = 0.5
LATENCIES_MAX = 256
DEPARTING_S_MAX = 3.0
"""How long the sends of a session that departs may take; its client then repeats them elsewhere."""
RETURN_WITHIN_MS = 5_000
"""Over so long clients come back who must all start afresh."""


class Gateway:
    """Sessions of one node. `node` is the name by which the bus reaches it, `place_of(app, log)` that of the database
    which holds a log, so that none waits for another."""

    def __init__(
        self,
        node: str,
        database: Storage,
        commit: Commit,
        receipts: Receipts,
        routes: Routes,
        verifier: TokenVerifier,
        resume_tokens: ResumeTokens,
        admission: Admission,
        clock: Clock,
        limits: GatewayLimits,
        hearing: Hearing | None = None,
        place_of: Callable[[str, str], str] = lambda app, log: "",
    ) -> None:
        self.node = node
        self.commit = commit
        self.admission = admission
        self.clock = clock
        self.limits = limits
        self.codes: Counter[int] = Counter()
        self.connections: dict[Session, None] = {}  # in the order in which they came
        self.sessions: dict[str, Session] = {}
        self._canaries: set[Session] = set()
        self.tasks = Tasks(clock)
        self.hearing = hearing or Hearing((SOURCE,), clock.monotonic)
        self.notes = Handlers()
        self.audience = Audience(
            node, database, routes, self.tasks, clock, self.sessions, self.hearing, self.notes, place_of
        )
        self.blocklist = Blocklist(database, self.notes, self.audience.sessions_of)
        self.devices = Devices(clock, self.notes)
        self.entrance = Entrance(self, database, self.audience, verifier, resume_tokens, self.tasks)
        self.requests = Requests(database, receipts, self.tasks, limits)
        self._database = database
        self._epoch = ""
        self._started_ms = clock.now_ms()
        self._numbers = itertools.count(1)
        self._apps: tuple[str, ...] = ()
        self.closed_because = ""
        self.doorkeeper: Callable[[Session], bool] = lambda session: False
        """Asked about each client that says hello: True when it has sent the session away."""
        self.elsewhere: Callable[[], str] = lambda: ""
        """The WebSocket URL of another node that takes clients; empty when there is none."""
        self.latencies_ms: deque[float] = deque(maxlen=LATENCIES_MAX)
        """From a send to its answer, of some of the last ones."""

    @property
    def clients(self) -> list[Session]:
        """Everybody who is connected, in no order, but the canaries, which are the node's own."""
        return [session for session in self.connections if session not in self._canaries]

    @property
    def clients_count(self) -> int:
        """How many clients are connected."""
        return len(self.connections) - len(self._canaries)

    def accept(self, socket: Socket) -> Session:
        """The handler of a new socket."""
        session = Session(self, socket, self.clock.monotonic())
        self.connections[session] = None
        return session

    def admit(self, session: Session) -> bool:
        """A session may go live, and an older one of its device makes way. False: it was itself the older one."""
        if not self.devices.admit(session):
            return False
        self.sessions[session.id] = session
        if session.app == CANARY_APP:
            self._canaries.add(session)
        return True

    def forget(self, session: Session) -> None:
        """The socket is closed."""
        self.connections.pop(session, None)
        self._canaries.discard(session)
        self.sessions.pop(session.id, None)
        self.devices.forget(session)

    def enter(self, session: Session, hello: Hello) -> None:
        """Begin to let a session in."""
        if self.closed_because:
            session.end(Code.NODE_STOPPING, self.closed_because, RETURN_WITHIN_MS)
        else:
            self.entrance.enter(session, hello)

    def request(self, session: Session, frame: ClientFrame) -> None:
        """Begin a request that must wait for the database."""
        if isinstance(frame, Renew):
            self.entrance.renew(session, frame)
        else:
            self.requests.start(session, frame)

    def vacate(self, session: Session) -> None:
        """Nothing may be sent to a session any more: it leaves its rooms."""
        self.audience.vacate(session)

    def is_here(self, app: str, user: str) -> bool:
        """True while a session of the user stands on this node."""
        return bool(self.audience.sessions_of(app, user))

    def is_blocked(self, app: str, user: str) -> bool:
        """True when the application has blocked the user, as far as this node has heard."""
        return (app, user) in self.blocklist

    def is_crowded(self, session: Session) -> bool:
        """True when its user has as many devices here as may be, and this is another one."""
        return not self.devices.has_room(session, self.limits.sessions_per_user_max)

    async def load_blocked(self, apps: Sequence[str]) -> None:
        """Read who is blocked. Called before the gateway opens."""
        self._apps = tuple(apps)
        await self.blocklist.load(self._apps)

    def new_session_id(self) -> str:
        """A name for a session: unique in the cluster, since the node's own name is."""
        return f"{self.node}.{self._started_ms:x}.{next(self._numbers):x}"

    def count(self, code: int) -> None:
        """Count a refusal or a close by its code."""
        self.codes[code] += 1

    def answered(self, seconds: float) -> None:
        """A send was answered so long after it came."""
        self.latencies_ms.append(seconds * 1000)

    # Background -----------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Twice a second: end sessions that are silent, late with `hello`, or whose token has expired."""
        while True:
            await self.clock.sleep(SWEEP_INTERVAL_S)
            now, now_s = self.clock.monotonic(), self.clock.now_ms() // 1000
            self._watch_epoch()
            for session in list(self.connections):
                self._inspect(session, now, now_s)
            self.admission.forget_idle(now)
            await self.audience.flush()

    async def refresh_blocked(self) -> None:
        """Read now and then who is blocked: a note may have been missed."""
        await self.blocklist.refresh(self._apps, self.clock)

    def _watch_epoch(self) -> None:
        """A log that was restored or moved back begins again below what the rooms have delivered: all start afresh."""
        before, self._epoch = self._epoch, self._database.epoch
        if before not in ("", self._epoch):
            self.send_away(Code.EPOCH_CHANGED, "the log was restored or moved back in time", RETURN_WITHIN_MS)

    def _inspect(self, session: Session, now: float, now_s: int) -> None:
        if session.is_silent(now):
            session.end(Code.HEARTBEAT_MISSED, "nothing came for twice the heartbeat interval")
        elif session.phase is Phase.LIVE:
            if session.expires_s <= now_s:
                session.end(Code.TOKEN_EXPIRED, "the access token has expired")
        elif session.departing_since is not None and now - session.departing_since > DEPARTING_S_MAX:
            session.end(Code.DRAINING, "what it has sent is not answered in time")
        elif session.phase is Phase.NEW and (now - session.opened) * 1000 > self.limits.hello_timeout_ms:
            session.end(Code.HELLO_TIMEOUT, "no hello came in time")

    def close(self, reason: str) -> None:
        """Send everybody away and let nobody in any more."""
        self.closed_because = reason
        self.send_away(Code.NODE_STOPPING, reason, RETURN_WITHIN_MS)

    def send_away(self, code: Code, reason: str, within_ms: int) -> None:
        """End every session, spreading their return evenly over `within_ms`."""
        sessions = list(self.connections)
        for number, session in enumerate(sessions):
            session.end(code, reason, round(within_ms * number / len(sessions)))
