"""The way in: a `hello` is checked, the session's rooms are registered, then what it missed is read.

In this order, so that nothing falls between: account room, then inbox; conversations' rooms, heads, membership. What is
committed after the heads were read arrives live.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from posthouse.auth.resume import ResumeRefused, ResumeTokens, Resumption
from posthouse.auth.tokens import Identity, TokenExpired, TokenInvalid, TokenVerifier
from posthouse.gateway.admission import Admission
from posthouse.gateway.audience import Audience, followed
from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.session import Session
from posthouse.health.report import CANARY_APP
from posthouse.kit.clock import Clock
from posthouse.kit.tasks import Tasks, abandon, start
from posthouse.model.errors import ModelError
from posthouse.model.ids import account_id, account_user, check_id
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import POSITIONS_MAX, Done, Hello, Limits, Renew, Resume, Welcome
from posthouse.protocol.phases import Phase
from posthouse.storage.base import REPEAT_WINDOW_MS, Storage, StorageError, StorageUnavailable

HEARTBEAT_S_MIN = 1
HEARTBEAT_S_MAX = 300
SDK_BYTES_MAX = 100
RETURN_MS = 1_000
CROWDED_RETURN_S = 60.0
PATIENCE_S = 0.5
"""What lies in a database that has not answered so long after another one is completed later."""
UNKNOWN = "the database that holds this user's conversations cannot be asked now"


class Door(Protocol):
    """What letting someone in asks of the gateway."""

    @property
    def node(self) -> str: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def limits(self) -> GatewayLimits: ...
    @property
    def admission(self) -> Admission: ...

    @property
    def doorkeeper(self) -> Callable[[Session], bool]:
        """True when it has sent a client away."""

    @property
    def elsewhere(self) -> Callable[[], str]:
        """Says which other node takes clients; empty when there is none."""

    def is_blocked(self, app: str, user: str) -> bool:
        """True when the application has blocked the user."""

    def is_crowded(self, session: Session) -> bool:
        """True when its user has as many devices here as may be, and this is another one."""

    def new_session_id(self) -> str:
        """A name for a session, unique in the cluster."""

    def admit(self, session: Session) -> bool:
        """The session may go live. False: a newer one of the same device has, and this one has ended."""


class Entrance:
    """Lets sessions in. At most `entering_max` at once; beyond it clients are told when to come back."""

    def __init__(
        self,
        door: Door,
        database: Storage,
        audience: Audience,
        verifier: TokenVerifier,
        resume_tokens: ResumeTokens,
        tasks: Tasks,
    ) -> None:
        self._door = door
        self._database = database
        self._audience = audience
        self._verifier = verifier
        self._resume_tokens = resume_tokens
        self._tasks = tasks
        self._entering = 0
        self.entered = 0
        self.resumed = 0

    def enter(self, session: Session, hello: Hello) -> None:
        """Begin to let a session in; ends in `welcome` or a close."""
        identity = self._identify(session, hello)
        if identity is None:
            return
        session.app, session.user = identity.app, identity.user
        session.device, session.expires_s = hello.device, identity.expires_s
        session.heartbeat_s = hello.heartbeat_s
        session.id = self._door.new_session_id()
        if session.app != CANARY_APP and self._door.doorkeeper(session):
            return
        if not self._may_begin(session):
            return
        reset = self._check_resume(session, hello.resume)
        if reset is None or not self._admit(session, hello.resume is not None and reset == 0):
            return
        self._entering += 1
        self._tasks.spawn("enter", self._enter(session, hello.resume, reset))

    def renew(self, session: Session, frame: Renew) -> None:
        """Take a fresh access token of the same user."""
        try:
            identity = self._verifier.verify(frame.token, self._now_s())
        except (TokenExpired, TokenInvalid) as error:
            session.refuse(error.code, str(error), ref=frame.ref)
            return
        if (identity.app, identity.user) != (session.app, session.user):
            session.refuse(Code.TOKEN_INVALID, "the token is another user's", ref=frame.ref)
            return
        if identity.device not in ("", session.device):
            session.refuse(Code.TOKEN_INVALID, "the token is for another device", ref=frame.ref)
            return
        session.expires_s = identity.expires_s
        session.send(Done(ref=frame.ref))

    def _identify(self, session: Session, hello: Hello) -> Identity | None:
        try:
            check_id(hello.device, "device")
            if len(hello.sdk.encode()) > SDK_BYTES_MAX:
                raise ModelError("sdk is too long")
        except (ModelError, UnicodeEncodeError) as error:
            session.end(Code.BAD_FRAME, str(error))
            return None
        if not HEARTBEAT_S_MIN <= hello.heartbeat_s <= HEARTBEAT_S_MAX:
            session.end(Code.BAD_FRAME, f"heartbeat_s is {HEARTBEAT_S_MIN} to {HEARTBEAT_S_MAX}")
            return None
        try:
            identity = self._verifier.verify(hello.token, self._now_s())
        except (TokenExpired, TokenInvalid) as error:
            session.end(error.code, str(error))
            return None
        if identity.device not in ("", hello.device):
            session.end(Code.TOKEN_INVALID, "the token is for another device")
            return None
        if self._door.is_blocked(identity.app, identity.user):
            session.end(Code.BLOCKED, "the application has blocked this user")
            return None
        return identity

    def _check_resume(self, session: Session, resume: Resume | None) -> int | None:
        """0: nothing stands against resuming; a code: start afresh because of it; None: the session was ended."""
        if resume is None:
            return 0
        if len(resume.positions) > POSITIONS_MAX:
            session.end(Code.BAD_FRAME, f"more than {POSITIONS_MAX} positions")
            return None
        try:
            claim = self._resume_tokens.verify(
                resume.token, app=session.app, user=session.user, device=session.device, now_s=self._now_s()
            )
        except ResumeRefused as error:
            session.end(Code.RESUME_REFUSED, str(error))
            return None
        session.came_from = "" if claim.node == self._door.node else claim.node
        current = resume.epoch == claim.epoch == self._database.epoch
        return 0 if current else Code.EPOCH_CHANGED

    def _may_begin(self, session: Session) -> bool:
        """No one user takes the places of the others. Sent away without another address, which would spread it."""
        if session.app == CANARY_APP:
            return True
        wait_s = self._door.admission.user_login_wait_s(session.app, session.user, session.last_seen)
        reason = "more sessions begun than one user may"
        if wait_s == 0.0 and self._door.is_crowded(session):
            wait_s, reason = CROWDED_RETURN_S, "as many devices as one user may have here"
        if wait_s > 0.0:
            session.end(Code.OVERLOADED, reason, round(wait_s * 1000) + 1)
        return wait_s == 0.0

    def _admit(self, session: Session, resuming: bool) -> bool:
        admission = self._door.admission
        wait_s = 0.0
        if session.app != CANARY_APP and not (resuming and not self._door.elsewhere()):
            wait_s = admission.shed_wait_s()  # who comes back to the only node there is, is let in
        if wait_s == 0.0 and not resuming:
            wait_s = admission.login_wait_s(session.last_seen)
        if self._entering >= self._door.limits.entering_max:
            wait_s = max(wait_s, 1.0)
        if wait_s > 0.0:
            wait_ms, endpoint = round(wait_s * 1000) + 1, self._door.elsewhere()
            session.end(Code.OVERLOADED, "the node takes no more logins now", wait_ms, endpoint)
        return wait_s == 0.0

    async def _enter(self, session: Session, resume: Resume | None, reset: int) -> None:
        positions = resume.positions if resume is not None and reset == 0 else None
        try:
            found = await self._register(session, positions)
        except StorageError as error:
            session.end(Code.OVERLOADED, error.told, self._door.limits.retry_after_ms(Code.UNAVAILABLE))
            return
        except Exception:
            session.end(Code.INTERNAL, "the node met a fault while letting the session in", RETURN_MS)
            raise
        finally:
            self._entering -= 1
        if self._door.is_blocked(session.app, session.user):  # since the hello was checked
            session.end(Code.BLOCKED, "the application has blocked this user")
        if session.gone:
            return
        heads = {
            room.key[1]: self._audience.admit(session, room, head)
            for room in session.rooms
            if (head := found[room.key[1]]) is not None
        }
        if positions is not None and _beyond(positions, heads):
            positions, reset = None, Code.EPOCH_CHANGED
        changed = None if positions is None else _changed(positions, heads)
        if changed is not None and _size(changed) > self._door.limits.page_bytes_max:
            changed = None  # too much for one frame: a fresh start pages through it
        if changed is None and found[account_id(session.user)] is None:
            session.end(Code.OVERLOADED, UNKNOWN, self._door.limits.retry_after_ms(Code.UNAVAILABLE))
            return
        self._welcome(session, heads, changed, reset)
        self._audience.complete(session, [conv for conv, head in found.items() if head is None])

    async def _register(self, session: Session, positions: Mapping[str, int] | None) -> dict[str, int | None]:
        """The heads of all the logs that the session has come to follow, read after their routes stood.

        One dead database keeps nobody out but those of its own users who start afresh: who resumes names the
        conversations, which are asked for beside the inbox. What it holds is unknown, and completed later.
        """
        audience, app = self._audience, session.app
        await audience.settle(session)
        asking = start(audience.inbox(session))
        try:
            known = [log for log in positions or () if account_user(log) is None]
            heads = await audience.follow(app, session.user, [session], known, PATIENCE_S)
            await asyncio.wait([asking], timeout=PATIENCE_S if known else None)
        finally:
            abandon(asking)
        inbox = asking.result() if asking.done() else None
        if inbox is None and positions is None:
            raise StorageUnavailable(UNKNOWN)
        already = followed(session)
        more = [conv for conv in inbox.convs if conv not in already] if inbox is not None else []
        heads |= await audience.follow(app, session.user, [session], more, PATIENCE_S)
        heads[account_id(session.user)] = inbox.account_head if inbox is not None else None
        while lacking := [room.key[1] for room in session.rooms if room.key[1] not in heads]:
            none: dict[str, int | None] = dict.fromkeys(lacking, 0)
            heads |= none | await audience.heads.get(app, lacking, PATIENCE_S)
        return heads

    def _welcome(
        self, session: Session, heads: dict[str, int], changed: dict[str, int] | None, reset: int
    ) -> None:
        """`changed` None: the session starts afresh."""
        door = self._door
        if not door.admit(session):
            return
        self.entered += 1
        self.resumed += changed is not None
        limits = door.limits
        session.phase = Phase.LIVE
        session.last_seen = door.clock.monotonic()  # until now it waited for the node
        session.send(
            Welcome(
                session=session.id,
                user=session.user,
                device=session.device,
                node=door.node,
                at_ms=door.clock.now_ms(),
                epoch=self._database.epoch,
                resume_token=self._resume_token(session),
                heartbeat_s=session.heartbeat_s,
                account_head=heads.get(account_id(session.user), 0),
                limits=Limits(
                    frame_bytes_max=limits.frame_bytes_max,
                    body_bytes_max=limits.body_bytes_max,
                    in_flight_max=limits.in_flight_max,
                    repeat_window_s=REPEAT_WINDOW_MS // 1000,
                ),
                resumed=changed is not None,
                reset=reset,
                changed=changed or {},
            )
        )

    def _resume_token(self, session: Session) -> str:
        door, now_s = self._door, self._now_s()
        return self._resume_tokens.issue(
            Resumption(
                app=session.app,
                user=session.user,
                device=session.device,
                session=session.id,
                node=door.node,
                epoch=self._database.epoch,
                issued_s=now_s,
                expires_s=now_s + door.limits.resume_ttl_s,
            )
        )

    def _now_s(self) -> int:
        return self._door.clock.now_ms() // 1000


def _beyond(positions: Mapping[str, int], heads: Mapping[str, int]) -> bool:
    """True when a position lies above what is in its log, which has gone back then."""
    return any(seq > heads.get(conv, seq) for conv, seq in positions.items())


def _changed(positions: dict[str, int], heads: dict[str, int]) -> dict[str, int]:
    """The logs in which there is anything above the position, with their heads."""
    return {log: head for log, head in heads.items() if head > positions.get(log, 0)}


def _size(changed: dict[str, int]) -> int:
    """About how many bytes it takes in a frame."""
    return sum(map(len, changed)) + 20 * len(changed)
